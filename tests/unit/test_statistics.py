"""Line statistics of many lines at once: those of SacreBLEU, for all tokenizers and any text."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from tiny_results import call

from timing.evaluation import line_statistics
from workflow_scripts.lat.evaluation import scores, statistics
from workflow_scripts.lat.evaluation.scores import by_target, metrics, prepare_references, translation_scores
from workflow_scripts.lat.evaluation.statistics import References, Vocabulary
from workflow_scripts.lat.files import read_table, write_lines

CHRF_PLUS_PLUS = CHRF(word_order=2)
# Few different characters, so that lines have n-grams in common; among them are all that the tokenizers look at.
LETTERS = "ab1.,-!'\"&;<> \t\u00a0\u3000\x85\ré漢字かな한국\U0001f600"
PARTS = ["the", "cat", "&amp;", "&quot;", "<skipped>", "3.5", "1,", "-2", "a.b.", "...", " . ", "é", "漢字", "かな"]
TEXTS = st.text(LETTERS, max_size=12) | st.lists(st.sampled_from(PARTS), max_size=8).map(" ".join)


def assert_equal_to_sacrebleu(tokenizer: str, hypotheses: list[str], references: list[str]) -> None:
    bleu = BLEU(tokenize=tokenizer)
    found = References(references, Vocabulary(bleu)).statistics(hypotheses)
    for name, metric in {"BLEU": bleu, "chrF++": CHRF_PLUS_PLUS}.items():
        assert np.array_equal(found[name], line_statistics(metric, hypotheses, references)), name


@pytest.mark.parametrize("tokenizer", ["13a", "zh", "ja-mecab", "ko-mecab"])
@settings(max_examples=150, deadline=None)
@example(pairs=[("", "a"), ("a", ""), ("", "")])
@example(pairs=[("a a a b", "a a b b"), ("x . . y", "x .. y.")])
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_statistics_of_any_text_are_those_of_sacrebleu(tokenizer, pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    try:
        assert_equal_to_sacrebleu(tokenizer, hypotheses, references)
    except ImportError:
        pytest.skip(f"the library of {tokenizer} is not installed")


@pytest.mark.parametrize("block", [1, 3, 256])
def test_lines_are_counted_apart_whatever_the_blocks(block, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK", block)
    random = np.random.default_rng(1)
    lines = ["".join(random.choice(list("ab c.")) for _ in range(random.integers(30))) for _ in range(20)]
    assert_equal_to_sacrebleu("13a", lines, lines[::-1])
    assert_equal_to_sacrebleu("13a", lines, lines)


@pytest.mark.parametrize(("lines", "symbols"), [(2, 1500), (256, 40)], ids=["long lines", "many lines"])
def test_lines_with_very_many_different_symbols_are_counted_in_another_way(lines, symbols, monkeypatch):
    """The n-grams of such lines do not fit into an integer, if the symbols of each line are numbered from 1 or not."""
    calls = []
    count_long = statistics._count_long
    monkeypatch.setattr(statistics, "_count_long", lambda *args: calls.append(1) or count_long(*args))
    random = np.random.default_rng(2)
    letters = [chr(code) for code in range(0x4E00, 0x9000)]
    references = ["".join(random.choice(letters, symbols)) for _ in range(lines)]
    hypotheses = [line[: symbols // 2] + line[symbols // 3 :] for line in references]
    assert_equal_to_sacrebleu("zh", hypotheses, references)
    # Symbols are numbered by line if those of all lines are too many, and then fit.
    assert bool(calls) == (symbols > 1000)


@pytest.mark.parametrize("direction", ["en-nl", "en-ru", "en-zh"])
def test_scores_and_signatures_are_those_of_sacrebleu(direction):
    references = ["een kat zat op de mat.", "het is 3.5 graden, zegt hij", "漢字 и кот"] * 3
    hypotheses = ["een hond zat op de mat.", "het was 3.5 graden", "漢 и кот"] * 3
    plain = {name: type(metric)(**options(name, metric)) for name, metric in metrics(direction).items()}
    expected = [
        (name, metric.corpus_score(hypotheses, [references]).score, str(metric.get_signature()))
        for name, metric in plain.items()
    ]
    assert list(map(tuple, translation_scores(hypotheses, references, direction))) == expected


def test_references_of_directions_into_one_language_are_read_once(monkeypatch):
    read = []
    cache_references = CHRF._cache_references
    monkeypatch.setattr(CHRF, "_cache_references", lambda *args: read.append(1) or cache_references(*args))
    references = {"nl": ["een kat.", "het is 3.5 graden"], "zh": ["漢字。", "猫 dog."]}
    directions = ["en-nl", "en-zh", "it-nl", "it-zh"]
    hypotheses = {"en-nl": ["een kat.", "is"], "it-nl": ["kat", ""], "en-zh": ["漢", "猫"], "it-zh": ["dog.", "字。"]}
    found = {
        direction: translation_scores(hypotheses[direction], references[direction[-2:]], direction)
        for direction in by_target(directions)
    }
    assert len(read) == 2
    for direction in directions:
        expected = [
            metric.corpus_score(hypotheses[direction], [references[direction[-2:]]]).score
            for metric in metrics(direction).values()
        ]
        assert [score.value for score in found[direction]] == expected


def test_the_table_of_scores_has_the_order_of_the_directions(tmp_path):
    directions = ["it-zh", "en-nl", "en-zh", "it-nl"]
    for direction in directions:
        write_lines(tmp_path / f"{direction}.txt", [f"a {direction}", "b c"])
        write_lines(tmp_path / f"{direction}.ref.txt", ["a b c", f"b {direction}"])
    call(
        "score", "--hypotheses", tmp_path, "--references", tmp_path, "--output", tmp_path / "scores.tsv",
        "--directions", *directions,
    )  # fmt: skip
    rows = read_table(tmp_path / "scores.tsv")
    assert [row["direction"] for row in rows[::2]] == directions
    for direction, bleu, chrf in zip(directions, rows[::2], rows[1::2], strict=True):
        hypotheses, references = [f"a {direction}", "b c"], ["a b c", f"b {direction}"]
        for row, score in zip((bleu, chrf), translation_scores(hypotheses, references, direction), strict=True):
            assert (row["metric"], row["value"]) == (score.metric, f"{score.value:.4f}")


def test_the_same_lines_are_read_again_for_another_tokenizer():
    lines = ["漢字。 猫 dog.", "het is 3.5"]
    for direction in ("en-nl", "en-zh", "en-nl"):
        bleu = metrics(direction)["BLEU"]
        assert (
            translation_scores(lines[::-1], lines, direction)[0].value == bleu.corpus_score(lines[::-1], [lines]).score
        )


def options(name: str, metric: BLEU | CHRF) -> dict[str, object]:
    return {"tokenize": metric.tokenizer.signature()} if isinstance(metric, BLEU) else {"word_order": 2}


def test_words_are_forgotten_when_they_become_too_many(monkeypatch):
    monkeypatch.setattr(scores, "WORDS_IN_MEMORY", 3)
    monkeypatch.setattr(scores, "_vocabularies", {})
    hypotheses, references, sizes = ["a b c"], ["a b d e f"], []
    for direction in ("en-nl", "it-nl", "en-de"):
        found = prepare_references(references, direction).statistics(hypotheses)
        for name, metric in metrics(direction).items():
            assert np.array_equal(found[name], line_statistics(metric, hypotheses, references)), name
        sizes.append(sum(map(len, scores._vocabularies.values())))
    # Each time, only the words of these two lines are there.
    assert sizes == [6, 6, 6]

"""spBLEU and metrics on the lines in the target language, from the score of a run to the table of means."""

import math
import subprocess
import sys

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from tiny_results import call

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.further import further_scores, needs_sentencepiece, offer_sentencepiece
from workflow_scripts.lat.files import InputError, read_table, write_lines, write_table
from workflow_scripts.lat.reporting.further import further_markdown, further_means
from workflow_scripts.lat.reporting.reading import scores_frame

HYPOTHESES = ["il file non può essere salvato", "the file cannot be saved", "il disco è pieno", "la rete è assente"]
REFERENCES = ["il file non può essere salvato", "il file non si salva", "il disco locale è pieno", "manca la rete ora"]
ON_TARGET = [True, False, True, True]


def test_a_score_on_target_is_the_corpus_score_of_these_lines():
    found = further_scores(["BLEU-on-target", "chrF++-on-target"], HYPOTHESES, REFERENCES, ON_TARGET, "en-it")
    kept = [[text for text, keep in zip(lines, ON_TARGET, strict=True) if keep] for lines in (HYPOTHESES, REFERENCES)]
    bleu, chrf = BLEU(), CHRF(word_order=2)
    assert [score.value for score in found] == [
        bleu.corpus_score(kept[0], [kept[1]]).score,
        chrf.corpus_score(kept[0], [kept[1]]).score,
    ]
    assert found[0].value != pytest.approx(BLEU().corpus_score(HYPOTHESES, [REFERENCES]).score)
    assert [score.n for score in found] == [3, 3]
    assert found[0].signature == str(bleu.get_signature())


def test_without_a_line_on_target_there_is_no_score():
    (score,) = further_scores(["BLEU-on-target"], HYPOTHESES, REFERENCES, [False] * 4, "en-it")
    assert math.isnan(score.value) and score.n == 0


def test_other_numbers_of_lines_are_refused():
    with pytest.raises(InputError, match="4 hypotheses and 3 verdicts for 4 references; decode and detect it again"):
        further_scores(["BLEU-on-target"], HYPOTHESES, REFERENCES, ON_TARGET[:3], "en-it")


def test_only_spbleu_needs_a_model():
    assert needs_sentencepiece(["BLEU-on-target", "spBLEU-on-target"]) and needs_sentencepiece(["spBLEU"])
    assert not needs_sentencepiece(["BLEU-on-target", "chrF++-on-target"])


def test_a_missing_model_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"flores.model: no such file; run again to download it, or leave out spBLEU"):
        offer_sentencepiece(tmp_path / "flores.model", tmp_path / "cache")


@pytest.fixture
def run_folder(tmp_path):
    write_lines(tmp_path / "out/en-it.txt", HYPOTHESES)
    write_lines(tmp_path / "test/en-it.ref.txt", REFERENCES)
    columns = ("direction", "line", "label", "score", "verdict", "copy")
    rows = [
        dict(zip(columns, ("en-it", n, "it" if on else "en", "0.9000", "target" if on else "source", 0), strict=True))
        for n, on in enumerate(ON_TARGET, 1)
    ]
    write_table(tmp_path / "lines.tsv", rows, columns)
    return tmp_path


def command(folder, *metrics):
    words = ["--metrics", *metrics, "--hypotheses", folder / "out", "--references", folder / "test"]
    return [*words, "--lines", folder / "lines.tsv", "--directions", "en-it", "--output", folder / "further.tsv"]


def test_the_script_takes_the_lines_on_target_from_the_table_of_lines(run_folder):
    call("score_further", *command(run_folder, "BLEU-on-target", "chrF++-on-target"))
    rows = read_table(run_folder / "further.tsv")
    expected = further_scores(["BLEU-on-target", "chrF++-on-target"], HYPOTHESES, REFERENCES, ON_TARGET, "en-it")
    assert [(row["metric"], row["value"], row["n"]) for row in rows] == [
        (score.metric, f"{score.value:.4f}", "3") for score in expected
    ]


def script(folder, *words):
    """Run the script in a process of its own, without a network for SacreBLEU: its proxy is closed."""
    environment = {"https_proxy": "http://127.0.0.1:9", "PATH": "/usr/bin", "HOME": str(folder)}
    environment |= {"PYTHONPATH": ":".join(sys.path)}
    arguments = [sys.executable, "-m", "workflow_scripts.score_further", *map(str, words)]
    return subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_spbleu_uses_the_downloaded_model_without_a_network(run_folder):
    sentencepiece = pytest.importorskip("sentencepiece")
    model = run_folder / "some name.model"
    with open(model, "wb") as writer:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([*HYPOTHESES, *REFERENCES] * 20), model_writer=writer, vocab_size=40,
            hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    words = command(run_folder, "spBLEU", "spBLEU-on-target")
    done = script(run_folder, *words, "--sentencepiece", model)
    assert done.returncode == 0, done.stderr
    rows = {row["metric"]: row for row in read_table(run_folder / "further.tsv")}
    # BLEU on the pieces of the same model, which SacreBLEU is given as text that is tokenized already.
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model)).encode_as_pieces
    split = [[" ".join(pieces(line)) for line in lines] for lines in (HYPOTHESES, REFERENCES)]
    expected = BLEU(tokenize="none", force=True).corpus_score(split[0], [split[1]]).score
    assert rows["spBLEU"]["value"] == f"{expected:.4f}" and 0 < expected < 100
    assert rows["spBLEU"]["n"] == "4" and rows["spBLEU-on-target"]["n"] == "3"
    assert "tok:flores200" in rows["spBLEU"]["signature"]
    assert float(rows["spBLEU-on-target"]["value"]) > expected

    model.write_bytes(b"damaged")
    done = script(run_folder, *words, "--sentencepiece", model)
    assert done.returncode and "the SentencePiece model cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_means_skip_directions_without_a_line_on_target():
    names = {"base_model": "m", "benchmark": "b", "system": "MT", "supervision": "zero-shot", "signature": "s"}
    rows = [
        names | {"seed": seed, "direction": direction, "metric": "BLEU-on-target", "value": value, "n": n}
        for seed, direction, value, n in [
            ("1", "it-nl", "10.0", "4"), ("1", "nl-it", "20.0", "6"),
            ("2", "it-nl", "nan", "0"), ("2", "nl-it", "30.0", "3"),
        ]
    ]  # fmt: skip
    (row,) = further_means(scores_frame(rows), ["BLEU-on-target"])
    assert (row["mean"], row["directions"], row["lines"], row["seeds"]) == ("22.5000", "1.5", "6.5", 2)
    assert row["sd"] == f"{math.sqrt(2) * 7.5:.4f}"
    assert "| MT | 22.5 ± 10.6 (6.5) |" in further_markdown([row])

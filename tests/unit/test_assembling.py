"""Benchmarks assembled from published corpora."""

import json

import pytest

from workflow_scripts import download
from workflow_scripts.lat.data.assembling import distinct_texts, draw_demonstrations, draw_samples, filter_pairs
from workflow_scripts.lat.data.corpora import Pair
from workflow_scripts.lat.files import InputError, read_jsonl, read_lines, read_table

EN_IT = [Pair(f"Line number {n} of this text.", f"Riga numero {n} di questo testo.") for n in range(6)]
IT_EN = [Pair(pair.target, pair.source) for pair in EN_IT]
TEST = {"en-it": [Pair("What is held out stays out.", "Ciò che è escluso resta escluso.")]}


def assemble(corpora, held_out, rows, both_ways, seed):
    """Filter pairs and draw samples; return the samples and all counts."""
    pairs, counts = filter_pairs(corpora, held_out, both_ways)
    samples, drawn = draw_samples(pairs, rows, seed)
    return samples, [*counts, *drawn]


def counts_of(counts, direction):
    return {row["filter"]: (row["dropped"], row["kept"]) for row in counts if row["direction"] == direction}


def test_empty_repeated_and_held_out_pairs_are_dropped_and_counted():
    bad = [Pair("", "Vuoto."), EN_IT[0], Pair("what is held out, stays out!", "Altro."), Pair("Thank you.", "Grazie.")]
    held_out = TEST | {"it-en": [Pair("Grazie.", "Thank you.")]}
    train, counts = assemble({"en-it": [*EN_IT, *bad]}, held_out, 0, False, seed=1)
    assert counts_of(counts, "en-it") == {
        "empty": (1, 9), "duplicate": (1, 8), "touches_test": (1, 7), "train_rows": (0, 7)
    }  # fmt: skip
    assert {"direction": "en-it", "source": "Thank you.", "target": "Grazie."} in train


def test_rows_are_drawn_by_the_seed_from_every_direction():
    def drawn(seed):
        return assemble({"en-it": EN_IT, "it-en": IT_EN}, TEST, 3, False, seed)[0]

    assert [sample["direction"] for sample in drawn(1)].count("en-it") == 3
    assert len(drawn(1)) == 6
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    with pytest.raises(InputError, match="direction en-it: 6 training pairs are left after the filters, 7 are wanted"):
        assemble({"en-it": EN_IT}, TEST, 7, False, 1)


def test_both_ways_takes_the_pairs_of_the_opposite_direction():
    train, _ = assemble({"en-it": EN_IT[:4], "it-en": IT_EN[2:]}, TEST, 0, True, seed=1)
    both = {(sample["direction"], sample["source"]) for sample in train}
    assert both == {("en-it", pair.source) for pair in EN_IT} | {("it-en", pair.source) for pair in IT_EN}


def test_monolingual_texts_are_distinct():
    texts = distinct_texts(assemble({"en-it": EN_IT, "it-en": IT_EN}, TEST, 0, False, seed=1)[0])
    assert len(texts) == len({(row["language"], row["text"]) for row in texts}) == 12


def multi_parallel(texts: dict[str, list[str]]) -> dict[str, list[Pair]]:
    """Return the pairs of all directions of a corpus with one list of lines per language."""
    return {
        f"{source}-{target}": [Pair(*lines) for lines in zip(texts[source], texts[target], strict=True)]
        for source in texts
        for target in texts
        if source != target
    }


class TestDemonstrations:
    TEXTS = {code: [f"{code} line {number}" for number in range(20)] for code in ("en", "it", "nl")}  # noqa: RUF012

    def test_an_empty_text_in_one_language_shifts_no_other(self):
        complete = draw_demonstrations(multi_parallel(self.TEXTS), {}, 5, seed=1)
        first = self.TEXTS["it"].index(complete["en-it"][0].target)
        gap = [*self.TEXTS["it"][:first], "", *self.TEXTS["it"][first + 1 :]]
        drawn = draw_demonstrations(multi_parallel(self.TEXTS | {"it": gap}), {}, 5, seed=1)
        numbers = {
            direction: [[text.split()[-1] for text in pair] for pair in pairs] for direction, pairs in drawn.items()
        }
        assert all(value == numbers["en-it"] for value in numbers.values())
        assert all(one == other for one, other in numbers["en-it"])
        assert drawn["en-nl"][:4] == complete["en-nl"][1:]

    def test_corpora_of_different_lengths_are_drawn_from_one_by_one(self):
        romanian = [Pair("One.", "Unu."), Pair("", "Doi."), Pair("Three.", "Trei.")]
        corpora = multi_parallel(self.TEXTS) | {"en-ro": romanian}
        drawn = draw_demonstrations(corpora, {}, 2, seed=1)
        assert sorted(drawn["en-ro"]) == [romanian[0], romanian[2]]
        assert list(drawn) == list(corpora)

    @pytest.mark.parametrize("direction", ["en-it", "nl-en"])
    def test_lines_of_the_test_set_are_never_shown(self, direction):
        corpora = multi_parallel(self.TEXTS)
        # Each side of each pair is in the test set of another direction alone.
        for side in (0, 1):
            language = direction.split("-")[side]
            texts = [pair[side].upper() + "!" for pair in draw_demonstrations(corpora, {}, 5, seed=1)[direction]]
            test = {f"{language}-ro": [Pair(text, "Altceva.") for text in texts[:3]]}
            drawn = draw_demonstrations(corpora, test, 5, seed=1)
            assert len(drawn[direction]) == 5
            assert not {pair[side].upper() + "!" for pair in drawn[direction]} & set(texts[:3])

    def test_the_first_lines_of_every_direction_in_their_order(self):
        corpora = multi_parallel(self.TEXTS)
        for shots in (1, 5):
            first = draw_demonstrations(corpora, {}, shots, seed=None)
            assert first == {direction: pairs[:shots] for direction, pairs in corpora.items()}
        # A line of the test set is not shown to any direction.
        test = {"it-ro": [Pair("it line 0", "Altceva.")]}
        assert draw_demonstrations(corpora, test, 2, seed=None)["en-nl"] == corpora["en-nl"][1:3]

    def test_a_test_set_as_demonstrations_is_refused(self):
        corpora = multi_parallel(self.TEXTS)
        test = {"it-ro": [Pair(text, "Altceva.") for text in self.TEXTS["it"][:17]]}
        with pytest.raises(InputError, match=r"en-it: 5 demonstrations wanted, 3 pairs are there, .* 17 of the test"):
            draw_demonstrations(corpora, test, 5, seed=1)


@pytest.fixture
def corpora(tmp_path):
    """Read corpora from the user's own files and return the flags of `assemble` for them."""

    def write(name, texts):
        for language, lines in texts.items():
            (tmp_path / f"{name}.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    numbers = range(6)
    write("train", {"en": [p.source for p in EN_IT], "it": [p.target for p in EN_IT]})
    write("test", {"en": [f"Test {n}." for n in numbers], "it": [f"Prova {n}." for n in numbers]})
    write("dev", {"en": [f"Show {n}." for n in numbers], "it": [f"Mostra {n}." for n in numbers]})
    flags = []
    for role, name in (("train", "train"), ("test", "test"), ("demonstrations", "dev")):
        folder = tmp_path / role
        parts = ["--parts", f"{tmp_path}/{name}", "--directions", "en-it", "it-en", "--output", str(folder)]
        download.main(["read", "--corpus", "local", *parts])
        flags += [f"--{role}-corpora", str(folder)]
    return flags


def test_the_files_of_a_benchmark(corpora, tmp_path):
    outputs = ["monolingual", "test-folder", "demonstrations-folder", "filters"]
    flags = [word for name in outputs for word in (f"--{name}", str(tmp_path / "out" / name))]
    wanted = ["--supervised", "en-it", "--zero-shot", "it-en", "--train-rows", "4", "--demonstrations", "2"]
    download.main(["assemble", *corpora, *flags, *wanted, "--seed", "1"])
    out = tmp_path / "out"

    def draw(seed):
        folders = [word for name in ("test", "demonstrations") for word in (f"--{name}-folder", f"{out}/{name}-folder")]
        drawn = ["--supervised", "en-it", "--zero-shot", "it-en", "--train-rows", "4", "--seed", str(seed)]
        files = ["--train", f"{out}/train{seed}", "--counts", f"{out}/counts{seed}"]
        download.main(["draw-pairs", "--corpora", corpora[1], *folders, *drawn, *files])
        return read_jsonl(out / f"train{seed}")

    assert len(draw(1)) == len(draw(2)) == 4
    assert draw(1) != draw(2)
    # The base model's text is that of the samples which the split seed draws.
    texts = {row["text"] for row in read_jsonl(out / "monolingual")}
    assert texts == {row[side] for row in draw(1) for side in ("source", "target")}
    assert read_lines(out / "test-folder" / "it-en.src.txt")[0] == "Prova 0."
    assert read_lines(out / "test-folder" / "it-en.ref.txt")[0] == "Test 0."
    shown = {name: read_jsonl(out / "demonstrations-folder" / f"{name}.jsonl") for name in ("en-it", "it-en")}
    assert [row["source"] for row in shown["en-it"]] == [row["target"] for row in shown["it-en"]]
    assert len(shown["en-it"]) == 2
    assert {row["filter"] for row in read_table(out / "filters")} == {"empty", "duplicate", "touches_test"}
    assert {row["filter"] for row in read_table(out / "counts1")} == {"train_rows"}
    assert json.loads((out / "train1").read_text().splitlines()[0]).keys() == {"direction", "source", "target"}
    with pytest.raises(InputError, match="direction en-it: 9 demonstrations wanted, 6 pairs are there"):
        download.main(["assemble", *corpora, *flags, *wanted[:-1], "9", "--seed", "1"])

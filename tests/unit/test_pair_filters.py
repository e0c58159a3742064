"""Filters of corpora."""

import inspect
import json

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.tiny_lid import write_tiny_lid
from workflow_scripts import download
from workflow_scripts.lat.data.corpora import Pair
from workflow_scripts.lat.data.pair_filters import FILTERS, run_pair_filters
from workflow_scripts.lat.files import read_lines, read_table, write_lines

GOOD = Pair("The file could not be saved.", "Il file non è stato salvato.")


class FakeIdentifier:
    """A language identifier that finds English, with a probability of 0.6, in texts with the word `the`."""

    name = signature = "fake"

    def __init__(self):
        self.asked: list[str] = []

    def identify(self, lines):
        self.asked += lines
        return [("en" if "the " in line.casefold() else "it", 0.6) for line in lines]


def run(filters, *pairs, direction="en-it", identifier=None):
    """Return the pairs that are left."""
    kept, _ = run_pair_filters({direction: list(pairs)}, filters, ["en", "it", "nl"], identifier)
    return kept[direction]


@pytest.mark.parametrize(
    ("name", "pair"),
    [
        ("placeholder", Pair("Save the file %s.", "Salva il file.")),
        ("markup", Pair("Save the file in this folder.", "Salva il <b>file in questa cartella.")),
        ("optional_ending", Pair("Save the file(s).", "Salva i file.")),
        ("LengthFilter", Pair("word " * 101, "parola " * 101)),
        ("not_prose", Pair("Save 1920 x 1080 50 Hz", "Salva 1920 x 1080 50 Hz")),
        ("untranslated", Pair("Save the file.", "save the file")),
        ("numbers", Pair("Wait 10 minutes", "Attendi 20 minuti")),
        ("length_ratio", Pair("Are you absolutely sure about it?", "Sicuro?")),
    ],
)
def test_a_filter_drops_what_it_is_called_by_and_nothing_else(name, pair):
    assert run([name], GOOD, pair) == [GOOD]
    assert run([{name: {}}], Pair(pair.target, pair.source)) == []
    assert run([other for other in FILTERS if other not in (name, "language")], pair) == [pair]


def test_thresholds_decide():
    long = Pair("one two three four five", "uno due tre")
    assert run([{"LengthFilter": {"max_length": 5}}], long) == [long]
    assert run([{"LengthFilter": {"max_length": 4}}], long) == []
    assert run([{"LengthFilter": {"min_length": 4, "max_length": 6}}], long) == []
    assert run([{"LengthFilter": {"unit": "char", "max_length": 23}}], long) == [long]
    assert run([{"LengthFilter": {"unit": "char", "min_length": 12}}], long) == []
    # Two full-width characters are one word.
    assert run([{"LengthFilter": {"min_length": 4}}], Pair("Save the file now", "文件已保存"), direction="en-zh") == []
    apart = Pair("Are you absolutely sure?", "Sicuro?")
    assert run([{"length_ratio": {"characters": 4.0, "words": 4.0}}], apart) == [apart]
    assert run([{"length_ratio": {"words": 1.2}}], apart) == []
    signs = Pair("Save 1920 x 1080", "Salva 1920 x 1080")
    assert run([{"not_prose": {"letters": 0.2}}], signs) == [signs]


def test_words_without_accents_are_found_in_each_language():
    spelled = [Pair(f"Is it {word}?", f"È già {word}?") for word in ("here", "there", "done", "saved", "open", "new")]
    plain = Pair("Is it gia?", "E gia qui?")
    assert run(["unaccented"], *spelled, plain) == spelled
    assert run([{"unaccented": {"occurrences": 7}}], *spelled, plain) == [*spelled, plain]
    assert run([{"unaccented": {"ratio": 7}}], *spelled, plain) == [*spelled, plain]
    # The same text in both directions counts once.
    both = {"en-it": [*spelled[:3], plain], "it-en": [Pair(pair.target, pair.source) for pair in spelled[:3]]}
    kept, _ = run_pair_filters(both, ["unaccented"], ["en", "it"], None)
    assert plain in kept["en-it"]


def test_texts_in_other_languages_are_dropped_on_either_side():
    copied = Pair("Save the old file now.", "Save the old file now.")
    swapped = Pair("Salva adesso il file.", "Il file è salvato qui.")
    short = Pair("The file", "The file")
    identifier = FakeIdentifier()
    assert run(["language"], GOOD, GOOD, copied, swapped, identifier=identifier) == [GOOD, GOOD]
    assert identifier.asked.count(GOOD.source) == 1
    assert run([{"language": {"probability": 0.7}}], short, identifier=identifier) == [short]
    assert run([{"language": {"probability": 0.5}}], short, identifier=identifier) == []
    assert run([{"language": {"min_words": 2, "probability": 0.7}}], short, identifier=identifier) == []


def test_filters_run_in_their_order_and_are_counted():
    pairs = [GOOD, Pair("Wait 10 min", "Attendi 20 min"), Pair("Wait 10%%", "Attendi 20%%"), Pair("", "")]
    _, counts = run_pair_filters({"en-it": pairs, "it-en": []}, ["placeholder", "numbers"], ["en", "it"], None)
    assert [(row["filter"], row["direction"], row["dropped"], row["kept"]) for row in counts] == [
        ("read", "en-it", 0, 4), ("read", "it-en", 0, 0),
        ("placeholder", "en-it", 1, 3), ("placeholder", "it-en", 0, 0),
        ("numbers", "en-it", 1, 2), ("numbers", "it-en", 0, 0),
    ]  # fmt: skip


def test_the_schema_has_the_filters_and_their_default_thresholds():
    schema = yaml.safe_load((ROOT / "rules/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    benchmark = schema["properties"]["benchmarks"]["additionalProperties"]["properties"]
    described = benchmark["filters"]["items"]["properties"]
    assert list(described) == list(FILTERS)
    from workflow_scripts.lat.data import filters

    functions = {
        "LengthFilter": FILTERS["LengthFilter"],
        "not_prose": filters.is_not_prose,
        "length_ratio": filters.has_extreme_ratio,
        "unaccented": filters.Accents,
        "language": filters.find_other_languages,
    }
    for name, node in described.items():
        defaults = {key: value["default"] for key, value in node.get("properties", {}).items()}
        parameters = inspect.signature(functions[name]).parameters.values() if name in functions else ()
        found = {entry.name: entry.default for entry in parameters if entry.default is not entry.empty}
        assert found == defaults, name


def test_the_step_filters_once_and_hands_its_counts_on(tmp_path):
    write_tiny_lid(tmp_path / "lid.bin")
    read = tmp_path / "read"
    read.mkdir()
    english = ["the file could not be saved", "wait 10 minutes", "the disk is full please", "this disk is full"]
    italian = ["il documento non è stato salvato", "attendi 20 minuti", "the disk is full please", "questo è pieno"]
    write_lines(read / "en-it.src.txt", english)
    write_lines(read / "en-it.ref.txt", italian)
    words = [
        "filter",
        "--corpora",
        read,
        "--directions",
        "en-it",
        "--languages",
        "en",
        "it",
        "--lid",
        tmp_path / "lid.bin",
    ]
    words += ["--filters", json.dumps(["numbers", {"language": {"min_words": 3}}])]
    download.main([*map(str, words), "--output", str(tmp_path / "out"), "--counts", str(tmp_path / "out.tsv")])
    assert read_lines(tmp_path / "out" / "en-it.src.txt") == [english[0], english[3]]
    assert read_lines(tmp_path / "out" / "en-it.ref.txt") == [italian[0], italian[3]]
    assert [list(row.values()) for row in read_table(tmp_path / "out.tsv")] == [
        ["en-it", "read", "0", "4"], ["en-it", "numbers", "1", "3"], ["en-it", "language", "1", "2"]
    ]  # fmt: skip

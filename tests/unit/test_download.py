"""The subcommands `extract` and `split`, from small archives to the files of a benchmark."""

import json
import random
import zipfile
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polib
import pytest
from tiny_lid import write_tiny_lid

from tests.unit.test_sources import CONTENT, GOOD, SOURCE, server
from workflow_scripts import download
from workflow_scripts.lat.data import sources
from workflow_scripts.lat.data.filters import normalise
from workflow_scripts.lat.files import InputError, read_jsonl, read_lines, read_table, write_table

assert server  # a fixture
LANGUAGES = ["en", "it", "nl", "ro"]
SUPERVISED = ["en-it", "it-en", "en-nl", "nl-en", "en-ro", "ro-en"]
SYLLABLES = ["ba", "ke", "li", "mo", "nu", "sa", "te", "vi"]
WORDS = {language: [a + b + language for a in SYLLABLES for b in SYLLABLES] for language in [*LANGUAGES, "de", "fr"]}


def sentence(numbers: list[int], language: str, end: str = ".") -> str:
    return " ".join(WORDS[language][number] for number in numbers).capitalize() + end


def po(pairs: dict[str, str]) -> str:
    catalogue = polib.POFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalogue.extend(polib.POEntry(msgid=english, msgstr=text) for english, text in pairs.items())
    return str(catalogue)


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """A program with .po catalogues, and one with JSON catalogues that repeat the texts of the first in other forms."""
    folder = tmp_path_factory.mktemp("archives")
    generator = random.Random(0)
    rows = [[generator.randrange(64) for _ in range(generator.randint(4, 12))] for _ in range(300)]
    rows = [row for row in rows if len(set(row)) == len(row)]
    with zipfile.ZipFile(folder / "office.whl", "w") as archive:
        for language in LANGUAGES[1:]:
            pairs = {sentence(row, "en"): sentence(row, language) for row in rows}
            archive.writestr(f"office/locale/{language}/LC_MESSAGES/office.po", po(pairs))
    catalogues: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
    for number, row in enumerate(rows):
        other = [generator.randrange(64) for _ in range(10)]
        if number % 3 == 0:
            # A new English text, with the Dutch text of the first program in another spelling.
            catalogues["en"][str(number)] = sentence(other, "en")
            catalogues["nl"][str(number)] = sentence(row, "nl", " !").lower()
        elif number % 3 == 1:
            # The English and Italian texts of the first program inside longer ones.
            catalogues["en"][str(number)] = f"{sentence(other[:3], 'en')} {sentence(row, 'en')}"
            catalogues["it"][str(number)] = f"{sentence(other[:3], 'it')} {sentence(row, 'it')}"
        else:
            catalogues["en"][str(number)] = sentence(other, "en")
            catalogues["ro"][str(number)] = sentence(other, "ro")
    with zipfile.ZipFile(folder / "home.whl", "w") as archive:
        for language, texts in catalogues.items():
            archive.writestr(f"home/{language}.json", json.dumps({"dialog": texts}))
    write_tiny_lid(folder / "lid.bin", {language: " ".join(words) for language, words in WORDS.items()})
    return folder


@pytest.fixture
def table(tmp_path, monkeypatch):
    row = dict.fromkeys(sources.COLUMNS, "-") | {
        "kind": "pypi",
        "package": "program",
        "version": "1",
        "sha256": "0" * 64,
        "licence": "MIT",
    }
    members = {"office": "office/locale/{language}/LC_MESSAGES/.+", "home": r"home/{language}\.json"}
    rows = [
        row | {"name": name, "file": f"{name}.whl", "format": kind, "members": members[name]}
        for name, kind in (("office", "gettext"), ("home", "json"))
    ]
    write_table(tmp_path / "sources.tsv", rows, sources.COLUMNS)
    monkeypatch.setattr(download, "find_source", lambda name: sources.find_source(name, tmp_path / "sources.tsv"))


def run(archives: Path, folder: Path, *more: str) -> Path:
    languages = " ".join(LANGUAGES)
    for name in ("office", "home"):
        extract = (
            f"extract --source {name} --archive {archives}/{name}.whl --languages {languages}"
            f" --output {folder}/{name}.jsonl --counts {folder}/{name}.counts.tsv"
        )
        download.main(extract.split())
    split = (
        f"split --catalogues {folder}/office.jsonl {folder}/home.jsonl --languages {languages}"
        f" --lid {archives}/lid.bin --test-rows 30 --test-min-words 8 --seed 7"
        " --min-words 3 --max-words 40 --demonstrations 5"
        f" --pool {folder}/pool.jsonl --monolingual {folder}/monolingual.jsonl --filters {folder}/filters.tsv"
        f" --test-folder {folder}/test --demonstrations-folder {folder}/demonstrations"
    )
    download.main([*split.split(), *more])
    draw(folder, 7)
    return folder


def draw(folder: Path, seed: int, *more: str) -> None:
    command = (
        f"draw --pool {folder}/pool.jsonl --languages {' '.join(LANGUAGES)} --supervised {' '.join(SUPERVISED)}"
        f" --train-rows 0 --seed {seed} --train {folder}/train.jsonl --counts {folder}/train.tsv"
    )
    download.main([*command.split(), *more])


@pytest.fixture
def results(archives, table, tmp_path) -> Path:
    return run(archives, tmp_path / "results")


class TestContract:
    def test_test_sets_are_multi_parallel(self, results):
        names = {path.name for path in (results / "test").iterdir()}
        pairs = [(a, b) for a in LANGUAGES for b in LANGUAGES if a != b]
        assert names == {f"{a}-{b}.{side}.txt" for a, b in pairs for side in ("src", "ref")}
        lines: dict[str, list[str]] = {}
        for a, b in pairs:
            for language, side in ((a, "src"), (b, "ref")):
                found = read_lines(results / "test" / f"{a}-{b}.{side}.txt")
                assert len(found) == 30
                assert lines.setdefault(language, found) == found
        assert all(len(line.split()) >= 8 for line in lines["en"])

    def test_demonstrations_are_the_same_rows_in_every_direction(self, results):
        paths = sorted((results / "demonstrations").iterdir())
        assert len(paths) == 12
        english = [row["source"] for row in read_jsonl(results / "demonstrations" / "en-ro.jsonl")]
        assert len(english) == 5
        assert [row["target"] for row in read_jsonl(results / "demonstrations" / "nl-en.jsonl")] == english
        assert all(set(row) == {"source", "target"} for path in paths for row in read_jsonl(path))

    def test_training_samples_are_of_supervised_directions_alone(self, results):
        rows = read_jsonl(results / "train.jsonl")
        assert all(list(row) == ["direction", "source", "target", "origin"] for row in rows)
        sizes = Counter(row["direction"] for row in rows)
        assert set(sizes) == set(SUPERVISED) and len(set(sizes.values())) == 1
        assert {row["origin"] for row in rows} == {"office", "home"}

    def test_nothing_held_out_is_trained_on(self, results):
        held_out = {
            normalise(line) for path in (results / "test").iterdir() for line in read_lines(path)
        } | {
            normalise(row["source"])
            for path in (results / "demonstrations").iterdir()
            for row in read_jsonl(path)
        }  # fmt: skip
        trained = {normalise(row[side]) for row in read_jsonl(results / "train.jsonl") for side in ("source", "target")}
        trained |= {normalise(row["text"]) for row in read_jsonl(results / "monolingual.jsonl")}
        traps = [normalise(text) for row in read_jsonl(results / "home.jsonl") for text in row.values()]
        assert sum(held in trap for held in held_out for trap in traps) >= 30
        assert not any(held in text for held in held_out for text in trained)

    def test_no_demonstration_is_a_test_sentence_in_any_language(self, results):
        for path in (results / "demonstrations").iterdir():
            for key, side in (("source", "src"), ("target", "ref")):
                shown = {normalise(row[key]) for row in read_jsonl(path)}
                test = {normalise(line) for line in read_lines(results / "test" / f"{path.stem}.{side}.txt")}
                assert shown and not shown & test

    def test_counts_go_from_the_extracted_rows_to_the_training_samples(self, results):
        tables = [*read_table(results / "filters.tsv"), *read_table(results / "train.tsv")]
        rows = [row for row in tables if row["source"] == "all"]
        extracted = [read_jsonl(results / f"{name}.jsonl") for name in ("office", "home")]
        assert rows[0]["filter"] == "extracted" and rows[-1]["filter"] == "train"
        assert int(rows[0]["kept"]) == sum(len(row) - 1 for source in extracted for row in source)
        assert 2 * int(rows[-1]["kept"]) == len(read_jsonl(results / "train.jsonl"))
        for before, after in pairwise(rows):
            assert int(before["kept"]) == int(after["kept"]) + int(after["dropped"])

    def test_the_same_seed_gives_the_same_bytes(self, archives, results, tmp_path):
        again = run(archives, tmp_path / "again")
        files = [path for path in sorted(results.rglob("*")) if path.is_file()]
        assert files
        for path in files:
            assert path.read_bytes() == (again / path.relative_to(results)).read_bytes(), path


class TestFetch:
    def test_two_working_folders_fetch_a_source_into_a_store_once(self, server, tmp_path, monkeypatch):
        source = replace(SOURCE, package=server.address)
        monkeypatch.setattr(download, "find_source", lambda name: source)
        server.answers = [GOOD]
        for name in ("one", "two"):
            target = tmp_path / name / "model.bin"
            download.main(["fetch", "--source", "model", "--output", str(target), "--store", str(tmp_path / "store")])
            assert target.is_symlink() and target.read_bytes() == CONTENT
        assert server.requests == 1
        server.answers = [GOOD]
        download.main(["fetch", "--source", "model", "--output", str(tmp_path / "model.bin")])
        assert not (tmp_path / "model.bin").is_symlink() and server.requests == 2


class TestMistakes:
    def test_a_failing_run_leaves_no_output(self, archives, table, tmp_path):
        with pytest.raises(InputError, match="test_rows: 5000 wanted"):
            run(archives, tmp_path / "results", "--test-rows", "5000")
        names = {path.name for path in (tmp_path / "results").iterdir()}
        assert names == {"office.jsonl", "office.counts.tsv", "home.jsonl", "home.counts.tsv"}

    def test_more_training_rows_than_there_are_leave_no_output(self, results):
        for name in ("train.jsonl", "train.tsv"):
            (results / name).unlink()
        with pytest.raises(InputError, match="train_rows: 5000 wanted"):
            draw(results, 7, "--train-rows", "5000")
        assert not {"train.jsonl", "train.tsv"} & {path.name for path in results.iterdir()}

    def test_folders_are_replaced_as_a_whole(self, archives, table, tmp_path):
        stale = tmp_path / "results" / "test" / "en-xx.src.txt"
        stale.parent.mkdir(parents=True)
        stale.write_text("stale\n", encoding="utf-8")
        run(archives, tmp_path / "results")
        assert not stale.exists()

    @pytest.mark.parametrize(
        ("languages", "message"),
        [
            (["it", "nl"], "en one of them"),
            (["en", "en"], "must be distinct"),
            (["en"], "at least two"),
            (["en", "xx"], "`xx` is no code of a language"),
        ],
    )
    def test_languages_are_checked(self, languages, message):
        with pytest.raises(InputError, match=message):
            download.check_languages(languages)

    def test_an_unknown_source_is_an_error(self, tmp_path):
        with pytest.raises(InputError, match="no source is called 'nowhere'"):
            download.main(["fetch", "--source", "nowhere", "--output", str(tmp_path / "file")])

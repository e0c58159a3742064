"""The TED benchmark of the paper, from the publishers' archives to prompts, and a benchmark of the user's own files."""

import gzip
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.unit.test_corpora import tar_of, xml, zip_of
from tests.unit.test_jsonl_corpora import write_floresplus, write_wmt24pp
from tests.unit.test_mtdata import ENDE, EUROPARL, SGM, TATOEBA, XML, mirror, sgm  # noqa: F401, one is a fixture
from tests.workflow.conftest import Run
from workflow_scripts.lat.languages import language as language_of

LANGUAGES = ["en", "it", "nl", "ro"]
DIRECTIONS = [f"{source}-{target}" for source, target in itertools.permutations(LANGUAGES, 2)]


def lines(language, count, prefix):
    return [f"{prefix} {number} in {language_of(language).name} words" for number in range(count)]


def add_source(run, source, name, content):
    folder = run.folder / "results" / "download" / "sources" / source
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)


def test_iwslt4_from_archive_to_prompts(tmp_path):
    run = Run(tmp_path)
    training = {
        f"D/train.tags.{direction}.{language}": (
            "<url>u</url>\n" + "".join(f"{line}\n" for line in lines(language, 6, f"Talk {min(direction.split('-'))}"))
        ).encode()
        for direction in DIRECTIONS
        if "en" in direction
        for language in direction.split("-")
    }
    add_source(run, "iwslt17-train", "DeEnItNlRo-DeEnItNlRo.zip", zip_of(training))
    tests = {}
    for direction in DIRECTIONS:
        language = direction.split("-")[0]
        name = f"{direction}/IWSLT17.TED.tst2017.mltlng.{direction}.{language}.xml"
        inner = tar_of({name: xml("srcset", *lines(language, 2, "Test"))})
        tests[f"2017-01-mted-test/texts/{direction.replace('-', '/')}/{direction}.tgz"] = inner
    add_source(run, "iwslt17-test", "2017-01-mted-test.tgz", tar_of(tests))
    labels = {"en": "eng_Latn", "it": "ita_Latn", "nl": "nld_Latn", "ro": "ron_Latn"}
    dev = {
        f"./flores200_dataset/dev/{labels[code]}.dev": "".join(f"{line}\n" for line in lines(code, 7, "Dev")).encode()
        for code in LANGUAGES
    }
    add_source(run, "flores200", "flores200_dataset.tar.gz", tar_of(dev))

    overlay = {
        "benchmarks": {"iwslt4": {"train_rows": 5}},
        "experiments": [{"base_model": "tiny", "benchmark": "iwslt4", "systems": ["MT", "5-shot"]}],
    }
    targets = ["results/prompts/tiny/iwslt4/seed1/mt.jsonl", "results/prompts/tiny/iwslt4/test/5-shot"]
    run.snakemake("--cores", "2", *targets, overlay=overlay)

    train = [json.loads(line) for line in run.text("download/iwslt4/seed1/train.jsonl").splitlines()]
    supervised = [direction for direction in DIRECTIONS if "en" in direction]
    assert sorted(sample["direction"] for sample in train) == sorted(supervised * 5)
    assert run.text("download/iwslt4/test/ro-it.src.txt").splitlines()[0] == "Test 0 in Romanian words"
    assert run.text("download/iwslt4/test/ro-it.ref.txt").splitlines()[0] == "Test 0 in Italian words"
    (first, *_) = run.text("prompts/tiny/iwslt4/test/5-shot/ro-it.jsonl").splitlines()
    prompt = json.loads(first)["prompt"]
    assert prompt.count("from Romanian to Italian") == 6
    assert "Dev" in prompt and prompt.index("Test 0 in Romanian words") > prompt.index("Dev")
    assert (run.folder / "results/download/iwslt4/filters.tsv").exists()


def test_a_changed_local_file_makes_the_benchmark_again(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "own").mkdir()
    for name, count in (("train", 4), ("test", 2), ("dev", 1)):
        for code in ("en", "it", "nl"):
            (tmp_path / "own" / f"{name}.{code}").write_text("\n".join(lines(code, count, name)) + "\n")
    benchmark = {
        "languages": ["en", "it", "nl"],
        "supervised": ["en-it", "it-en", "en-nl", "nl-en"],
        "zero_shot": ["it-nl", "nl-it"],
        "corpora": {
            role: {"local": [str(tmp_path / "own" / name)]}
            for role, name in (("train", "train"), ("test", "test"), ("demonstrations", "dev"))
        },
        "train_rows": 0,
        "demonstrations": 1,
    }
    overlay = {"benchmarks": {"mine": benchmark}}
    target = "results/download/mine/seed1/train.jsonl"
    run.snakemake("--cores", "1", target, overlay=overlay)
    assert len(run.text("download/mine/seed1/train.jsonl").splitlines()) == 16
    with open(tmp_path / "own" / "train.it", "a") as it, open(tmp_path / "own" / "train.en", "a") as en:
        it.write("Una riga nuova di zecca\n")
        en.write("A brand new line of text\n")
    with open(tmp_path / "own" / "train.nl", "a") as nl:
        nl.write("Een gloednieuwe regel tekst\n")
    run.snakemake("--cores", "1", target, overlay=overlay)
    assert len(run.text("download/mine/seed1/train.jsonl").splitlines()) == 20
    (tmp_path / "own" / "train.nl").unlink()
    done = run.snakemake("--cores", "1", target, overlay=overlay, check=False)
    assert done.returncode and "no text of en-nl; put it into" in done.stdout + done.stderr


def test_corpora_of_the_hub_test_what_filtered_local_text_trains(tmp_path):
    """The rules from the files of the user and the downloads of two data sets to the assembled benchmark."""
    run = Run(tmp_path)
    (tmp_path / "own").mkdir()
    train = {"en": ["A first line of text", "Wait 10 minutes", "<b>Two</b> tags", "A last line of text"]}
    train["it"] = ["Una prima riga di testo", "Attendi 20 minuti", "<b>Due</b> tag", "Un'ultima riga di testo"]
    for code, texts in train.items():
        (tmp_path / "own" / f"train.{code}").write_text("".join(f"{text}\n" for text in texts))
    sources = tmp_path / "results" / "download" / "sources"
    write_wmt24pp(sources / "wmt24pp" / "wmt24pp", "it_IT", "pt_BR")
    for label in ("eng_Latn", "ita_Latn", "por_Latn"):
        write_floresplus(sources / "floresplus" / "flores_plus", **{label: [f"{label} sentence {n}." for n in (1, 2)]})
    benchmark = {
        "languages": ["en", "it", "pt-BR"],
        "supervised": ["en-it", "it-en"],
        "zero_shot": ["it-pt-BR"],
        "corpora": {
            "train": {"local": [str(tmp_path / "own" / "train")]},
            "test": {"wmt24pp": ["all"]},
            "demonstrations": {"floresplus": ["dev"]},
        },
        "filters": ["markup", {"LengthFilter": {"max_length": 50}}, "numbers"],
        "train_rows": 0,
        "demonstrations": 1,
    }
    done = run.snakemake(
        "--cores", "2", "results/download/mine/seed1/train.jsonl", overlay={"benchmarks": {"mine": benchmark}}
    )
    assert "fetch" not in done.stdout
    table = [line.split("\t") for line in run.text("download/mine/filters.tsv").splitlines()]
    assert table[:2] == [["direction", "filter", "dropped", "kept"], ["en-it", "read", "0", "4"]]
    dropped = {filter_: int(number) for direction, filter_, number, _ in table[1:] if direction == "it-en"}
    assert dropped == {
        "read": 0, "markup": 1, "LengthFilter": 0, "numbers": 1, "empty": 0, "duplicate": 0, "touches_test": 0
    }  # fmt: skip
    train = [json.loads(line) for line in run.text("download/mine/seed1/train.jsonl").splitlines()]
    assert sorted(sample["source"] for sample in train if sample["direction"] == "en-it") == [
        "A first line of text", "A last line of text"
    ]  # fmt: skip
    assert run.text("download/mine/test/it-pt-BR.ref.txt") == "pt_BR One.\npt_BR Two. Three.\n"
    assert "por_Latn sentence" in run.text("download/mine/demonstrations/it-pt-BR.jsonl")


def test_a_user_copies_the_config_for_own_data_and_edits_it(tmp_path):
    """As docs/benchmarks.md says: files in a folder, a copy of the config with other languages and paths, two calls."""

    def snakemake(*words):
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "1", *words]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        config = ["--configfile", "my-data.yaml"]
        return subprocess.run([*command, *config], cwd=tmp_path, env=environment, capture_output=True, text=True)

    # The sentences of the example, in place of Italian ones some in Dutch.
    example, own = ROOT / "resources/my-data", tmp_path / "data/mine"
    own.mkdir(parents=True)
    for file in example.iterdir():
        shutil.copy(file, own / re.sub(r"\bit\b", "nl", file.name))
    copy = (ROOT / "configs/my-data.yaml").read_text(encoding="utf-8")
    (tmp_path / "my-data.yaml").write_text(
        re.sub(r"\bit\b", "nl", copy).replace("resources/my-data", str(own)), encoding="utf-8"
    )

    (own / "test.nl").rename(own / "test.it")
    done = snakemake("--dry-run")
    line = f"config: benchmarks.mine.corpora.test.local: no text of en-nl; put it into {own}/test.en-nl.en and"
    assert done.returncode and line in done.stdout + done.stderr
    (own / "test.it").rename(own / "test.nl")

    done = snakemake("--dry-run")
    assert done.returncode == 0, done.stderr[-3000:]
    for rule in ("finetune", "unlikelihood", "page"):
        assert re.search(rf"^{rule} +\d+$", done.stdout, re.MULTILINE)
    prompts = "results/prompts/gemma3-270m/mine"
    done = snakemake(f"{prompts}/seed1/mt.jsonl", f"{prompts}/test/MT")
    assert done.returncode == 0, done.stderr[-3000:]
    train = [json.loads(line) for line in (tmp_path / "results/download/mine/seed1/train.jsonl").open(encoding="utf-8")]
    assert {sample["direction"] for sample in train} == {"en-de", "de-en", "en-fr", "fr-en", "en-nl", "nl-en"}
    assert len(train) == 6 * 8
    test = (tmp_path / "results/download/mine/test/de-nl.ref.txt").read_text(encoding="utf-8")
    assert test == (own / "test.nl").read_text(encoding="utf-8")
    (first, *others) = (tmp_path / f"{prompts}/test/MT/de-nl.jsonl").read_text(encoding="utf-8").splitlines()
    assert "from German to Dutch" in json.loads(first)["prompt"] and len(others) == 5


def test_corpora_of_mtdata_from_their_ids_to_training_samples(tmp_path, mirror, mtdata_index):  # noqa: F811
    """Two corpora and two test sets of one archive, from a mirror of their publishers on this machine."""
    run = Run(tmp_path)
    sources = tmp_path / "results" / "download" / "sources" / "mtdata"
    sources.mkdir(parents=True)
    (sources / "index").symlink_to(mtdata_index)
    held_out = "A sentence of the test set."
    mirror.files["www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz"] = gzip.compress(
        f"Ein erster Satz.\tA first sentence.\t1\nNoch einer.\t{held_out}\t1\nUm 10 Uhr.\tAt 11.\nZwei.\t\n".encode()
    )
    mirror.files["data.statmt.org/wmt20/translation-task/dev.tgz"] = tar_of(
        {
            "dev/newstest2019-deen-src.de.sgm": sgm("srcset", "Ein Satz des Tests."),
            "dev/newstest2019-deen-ref.en.sgm": sgm("refset", held_out),
            "dev/newstest2019-ende-src.en.sgm": sgm("srcset", "Another sentence, written in English."),
            "dev/newstest2019-ende-ref.de.sgm": sgm("refset", "Ein anderer, auf Englisch geschriebener Satz."),
        }
    )
    benchmark = {
        "languages": ["en", "de"],
        "supervised": ["en-de", "de-en"],
        "zero_shot": [],
        "corpora": {
            "train": {"mtdata": [EUROPARL, TATOEBA]},
            "test": {"mtdata": [SGM, ENDE]},
            "demonstrations": {"mtdata": [XML]},
        },
        "filters": ["numbers"],
        "train_rows": 0,
        "demonstrations": 1,
    }
    target = "results/download/mine/seed1/train.jsonl"
    wrong = {"train": {"mtdata": ["Statmt-europarl-11-deu-eng"]}}
    overlay = {"benchmarks": {"mine": benchmark | {"corpora": benchmark["corpora"] | wrong}}}
    message = "config: benchmarks.mine.corpora.train.mtdata: mtdata 0.5.1 has no `Statmt-europarl-11-deu-eng`; did you"
    done = run.snakemake("--dry-run", "--cores", "1", target, overlay=overlay)
    assert f"This run would stop: {message}" in done.stdout
    assert re.search(f"Not counted, since their size is unknown: .*{XML}", done.stdout)
    done = run.snakemake("--cores", "1", target, overlay=overlay, check=False)
    assert done.returncode and message in done.stderr and "Traceback" not in done.stderr and not mirror.requests

    overlay = {"benchmarks": {"mine": benchmark}}
    run.snakemake("--cores", "2", target, overlay=overlay)
    assert mirror.requests.total() == 4  # the test sets of 2019 are in one archive
    train = [json.loads(line) for line in run.text("download/mine/seed1/train.jsonl").splitlines()]
    expected = {"A first sentence.": "Ein erster Satz.", "One two.": "Eins zwei.", "Three.": "Drei."}
    for direction in ("en-de", "de-en"):
        pairs = {sample["source"]: sample["target"] for sample in train if sample["direction"] == direction}
        assert (pairs if direction == "en-de" else {text: source for source, text in pairs.items()}) == expected
    table = [line.split("\t") for line in run.text("download/mine/filters.tsv").splitlines()[1:]]
    dropped = {name: int(number) for direction, name, number, _ in table if direction == "de-en"}
    assert dropped == {"read": 0, "numbers": 1, "empty": 0, "duplicate": 0, "touches_test": 1}
    assert run.text("download/mine/test/de-en.src.txt") == "Ein Satz des Tests.\n"
    assert run.text("download/mine/test/en-de.src.txt") == "Another sentence, written in English.\n"
    references = run.text("download/corpora/mine/train/mtdata/references.bib")
    assert references.startswith(f"% {EUROPARL}\n@inproceedings{{barrault-etal-2020-findings,")

    # Other filters ask neither the index nor the publishers again.
    (sources / "index").unlink()
    overlay = {"benchmarks": {"mine": benchmark | {"filters": ["untranslated"]}}}
    run.snakemake("--cores", "2", target, overlay=overlay)
    assert mirror.requests.total() == 4

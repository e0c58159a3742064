"""The TED benchmark of the paper, from the publishers' archives to prompts, and a benchmark of the user's own files."""

import itertools
import json

from tests.unit.test_corpora import tar_of, xml, zip_of
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
    assert done.returncode and "train: no text of en-nl" in done.stdout + done.stderr

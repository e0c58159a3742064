"""A step of stage 2 is chosen in held-out directions, from the lines that are drawn for them to the tables."""

import csv
import io
import json

import pytest

from tests.workflow.conftest import Run
from workflow_scripts.lat.data.filters import normalise
from workflow_scripts.lat.files import read_jsonl, read_lines, read_table

DEV = ["it-nl", "ro-it"]
TESTED = ["nl-it", "it-ro", "nl-ro", "ro-nl"]
OVERLAY = {
    "seeds": [1],
    "benchmarks": {"demo": {"dev": {"directions": DEV, "sentences": 8}}},
    # With this rate, the outputs differ from step to step.
    "base_models": {"tiny": {"unlikelihood": {"steps": 5, "learning_rate": 0.02, "conflicts": "confusion"}}},
    "models": {"lat-best": {"stage": "snapshot", "from": "lat", "step": "best", "every": 2}},
    "systems": {"LAT-best": {"model": "lat-best", "beam": 1}},
    "experiments": [{"base_model": "tiny", "benchmark": "demo", "systems": ["MT", "LAT", "LAT-best"]}],
}
RESULTS = "select/tiny/demo/seed1/lat-best"


@pytest.fixture(scope="module")
def chosen(tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("chosen"))
    run.snakemake("--cores", "2", overlay=OVERLAY)
    return run


def test_the_choice_follows_from_the_curve(chosen):
    rows = read_table(chosen.folder / "results" / RESULTS / "curve.tsv")
    means = {int(row["step"]): row for row in rows if row["direction"] == "AVG"}
    assert list(means) == [0, 2, 4, 5] and all(row["lines"] == "16" for row in means.values())
    assert len({tuple(row[metric] for metric in ("OTR", "chrF++")) for row in means.values()}) > 2
    candidates = [step for step in means if step]
    # One line of 16 is 6.25 %.
    fewest = min(float(means[step]["OTR"]) for step in candidates)
    left = [step for step in candidates if float(means[step]["OTR"]) <= fewest + 6.251]
    expected = max(left, key=lambda step: float(means[step]["chrF++"]))
    assert json.loads(chosen.text(f"{RESULTS}/choice.json"))["step"] == expected
    folder = chosen.folder / "results" / "unlikelihood/tiny/demo/seed1/lat"
    source = folder / "model" if expected == 5 else folder / f"snapshots/step{expected}"
    model = chosen.folder / "results" / RESULTS / "model"
    assert (model / "model.safetensors").samefile(source / "model.safetensors")
    assert sorted(path.name for path in (folder / "snapshots").glob("step*")) == ["step2", "step4"]


def test_dev_directions_are_in_no_table_and_not_among_the_errors_of_stage_1(chosen):
    rows = list(csv.DictReader(io.StringIO(chosen.text("tables/scores.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE))
    directions = {row["direction"] for row in rows if row["supervision"] == "zero-shot"}
    assert directions == set(TESTED) and not set(DEV) & {row["direction"] for row in rows}
    assert "| System | nl-it | it-ro | nl-ro | ro-nl | AVG |" in chosen.text("tables/zero_shot.md")
    asked = {
        row["direction"] for row in read_jsonl(chosen.folder / "results/off_targets/tiny/demo/seed1/mt/lines.jsonl")
    }
    assert asked and asked <= set(TESTED)
    decoded = {path.stem for path in (chosen.folder / "results/decode/tiny/demo/seed1/LAT-best").glob("*-*.txt")}
    assert not decoded & set(DEV)


def test_dev_lines_are_in_no_other_part(chosen):
    folder = chosen.folder / "results/download/demo"
    dev = {normalise(line) for path in (folder / "dev").glob("*.txt") for line in read_lines(path)}
    assert {path.name.partition(".")[0] for path in (folder / "dev").glob("*.txt")} == set(DEV)
    test = {normalise(line) for path in (folder / "test").glob("*.txt") for line in read_lines(path)}
    shown = {normalise(text) for path in (folder / "demonstrations").glob("*.jsonl") for row in read_jsonl(path)
             for text in row.values()}  # fmt: skip
    samples = read_jsonl(folder / "seed1/train.jsonl")
    training = {normalise(row[side]) for row in samples for side in ("source", "target")}
    training |= {normalise(row["text"]) for row in read_jsonl(folder / "monolingual.without_dev.jsonl")}
    assert len(dev) == 3 * 8 and len(samples) == 600
    assert not dev & test and not dev & shown and not dev & training
    # The base model is trained on the text without them.
    done = chosen.snakemake("--dry-run", "--printshellcmds", "--forcerun", "build_base_model", overlay=OVERLAY)
    assert "--monolingual results/download/demo/monolingual.without_dev.jsonl" in done.stdout


def test_the_figure_is_made_and_on_the_page(chosen):
    assert "lat-best" in chosen.text("figures/select.svg")
    assert "which are not tested, as means over these directions" in chosen.text("page/index.html")


def test_only_what_depends_on_a_setting_runs_again(chosen):
    assert chosen.planned(OVERLAY) == {}
    reporting = {"significance": 1, "tables": 1, "figures": 1, "page": 1}
    # The search of the comparison is greedy, whatever that of the system is.
    beam = chosen.planned(OVERLAY | {"systems": {"LAT-best": {"model": "lat-best", "beam": 2}}, "replace": True})
    assert beam == {"decode": 1, "detect": 1, "score": 1} | reporting
    every = OVERLAY | {"models": {"lat-best": OVERLAY["models"]["lat-best"] | {"every": 1}}, "replace": True}
    planned = chosen.planned(every)
    assert planned["unlikelihood"] == planned["select"] == 1 and "finetune" not in planned
    identified = chosen.planned(OVERLAY | {"detect": {"lid": ["lid.176.bin"]}, "replace": True})
    assert identified["select"] == 1
    # Other lines of the dev directions are other training text, too.
    lines = {"demo": {"dev": {"directions": DEV, "sentences": 9}}}
    planned = chosen.planned(OVERLAY | {"benchmarks": lines, "replace": True})
    assert planned["hold_out_rows"] == planned["draw"] == planned["build_base_model"] == planned["select"] == 1
    assert "split_benchmark" not in planned and planned | reporting == planned


def test_the_dev_lines_of_corpora_are_left_out_of_filters_training_and_base_model(tmp_path):
    run = Run(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    for name, numbers in (("train", range(30)), ("test", range(40, 45)), ("shown", range(10, 40))):
        for code in ("en", "it", "nl"):
            lines = [f"{number} {code} riga {number} numero {number} del testo {number}" for number in numbers]
            (own / f"{name}.{code}").write_text("".join(f"{line}\n" for line in lines))
    benchmark = {
        "languages": ["en", "it", "nl"],
        "supervised": ["en-it", "it-en", "en-nl", "nl-en"],
        "zero_shot": ["it-nl", "nl-it"],
        "dev": {"directions": ["it-nl"], "sentences": 12},
        "corpora": {role: {"local": [str(own / name)]}
                    for role, name in (("train", "train"), ("test", "test"), ("demonstrations", "shown"))},
        "filters": ["markup"],
        "train_rows": 0,
        "demonstrations": 5,
    }  # fmt: skip
    overlay = OVERLAY | {
        "benchmarks": {"mine": benchmark},
        "experiments": [{"base_model": "tiny", "benchmark": "mine", "systems": ["MT", "LAT-best"]}],
    }
    targets = ["results/download/mine/seed1/train.jsonl", "results/prompts/tiny/mine/dev/lat-best"]
    run.snakemake("--cores", "2", *targets, overlay=overlay)
    dev = run.text("download/mine/dev/it-nl.src.txt").splitlines()
    assert len(dev) == 12 and not (tmp_path / "results/download/mine/test/it-nl.src.txt").exists()
    prompts = read_jsonl(tmp_path / "results/prompts/tiny/mine/dev/lat-best/it-nl.jsonl")
    assert [dev[place] in row["prompt"] for place, row in enumerate(prompts)] == [True] * 12
    assert all("from Italian to Dutch" in row["prompt"] for row in prompts)
    shown = {row["source"] for row in read_jsonl(tmp_path / "results/download/mine/demonstrations/it-en.jsonl")}
    trained = {row["source"] for row in read_jsonl(tmp_path / "results/download/mine/seed1/train.jsonl")}
    trained |= {row["text"] for row in read_jsonl(tmp_path / "results/download/mine/monolingual.jsonl")}
    assert len(shown) == 5 and len(trained) > 30
    assert not set(dev) & shown and not set(dev) & trained and not shown & trained
    rows = [row for row in read_table(tmp_path / "results/download/mine/filters.tsv") if row["direction"] == "en-it"]
    assert [row["filter"] for row in rows] == ["read", "markup", "touches_dev", "empty", "duplicate", "touches_test"]
    assert rows[0]["kept"] == "30" and int(rows[2]["dropped"]) > 0


# The last test, since it deletes the dev lines of the run.
def test_mistakes_stop_before_any_job(chosen):
    wrong = {"demo": {"dev": {"directions": ["en-it"], "sentences": 8}}}
    done = chosen.snakemake("--cores", "2", overlay=OVERLAY | {"benchmarks": wrong}, check=False)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "benchmarks.demo.dev.directions" in line]
    assert done.returncode and len(lines) == 1 and "Job stats" not in done.stdout + done.stderr
    many = {"demo": {"dev": {"directions": DEV, "sentences": 5000}}}
    overlay = OVERLAY | {"benchmarks": many, "replace": True}
    done = chosen.snakemake("--cores", "2", "--until", "hold_out_rows", overlay=overlay, check=False)
    assert done.returncode and "5000 rows wanted" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr

"""The complete workflow with the smoke configuration: its results, and the jobs that rerun when a setting changes."""

import base64
import csv
import gzip
import io
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.test_judging import KEY, Server, server  # noqa: F401, a fixture
from tests.workflow.conftest import SEEDS, Run
from workflow_scripts.lat.config.previous import RECORD, known_configs
from workflow_scripts.lat.data.filters import normalise
from workflow_scripts.lat.prompts.prompting import translation_instruction

SYSTEMS = ["Base", "MT", "Post-ins", "PTL", "1-shot", "5-shot", "C_src+lang", "LAT"]
LANGUAGES = ["en", "it", "nl", "ro"]
REPORTING = {"significance": 1, "tables": 1, "figures": 1, "page": 1}  # these run again whenever a score changes
# The folders of the two seeds, and of the system on the untrained base model, which they share.
RUNS = [("shared", "Base"), *((f"seed{seed}", system) for seed in SEEDS for system in SYSTEMS[1:])]
OFF_TARGET = ["OTR", "OTR-source", "OTR-english", "OTR-other", "OTR-empty", "OTR-no_words", "no_words", "copies"]
OFF_TARGET += ["OTR-confusion", "CSR-script", "CSR-words", "CSR-window", "OTR:py3langid", "agreement:py3langid"]
DIRECTIONS = [f"{source}-{target}" for source, target in itertools.permutations(LANGUAGES, 2)]


def scores(run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.text("tables/scores.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_the_table_of_scores_has_one_row_per_score(finished):
    rows = scores(finished)
    assert list(rows[0]) == [
        "base_model", "benchmark", "system", "seed", "supervision", "direction", "metric", "value", "n", "signature",
    ]  # fmt: skip
    runs = [(system, run.removeprefix("seed")) for run, system in RUNS]
    expected = {(*run, direction, metric) for run in runs for direction in DIRECTIONS
                for metric in ("BLEU", "chrF++")}  # fmt: skip
    expected |= {(*run, direction, metric) for run in [*runs, ("reference", "shared")] for direction in DIRECTIONS
                 for metric in OFF_TARGET}  # fmt: skip
    found = [(row["system"], row["seed"], row["direction"], row["metric"]) for row in rows]
    assert sorted(found) == sorted(expected)
    for row in rows:
        assert row["supervision"] == ("supervised" if "en" in row["direction"].split("-") else "zero-shot")
        if row["metric"] in ("BLEU", "chrF++", "OTR"):
            assert 0 <= float(row["value"]) <= 100
            assert row["n"] == "12"
        assert "version:" in row["signature"] or row["signature"].startswith("lid:lid.176.ftz|sha256:8f3472cfe873")


def test_every_score_has_an_interval_and_a_p_value_except_for_the_baseline(finished):
    rows = list(csv.DictReader(io.StringIO(finished.text("tables/intervals.tsv")), delimiter="\t"))
    values = {(row["system"], row["seed"], row["direction"], row["metric"]): row["value"] for row in scores(finished)}
    assert len(rows) == len(RUNS) * 3 * (12 + 2)
    for row in rows:
        assert float(row["low"]) <= float(row["high"])
        assert (row["p"] == "") == (row["system"] == "MT")
        if row["direction"] != "AVG":
            assert row["value"] == values[row["system"], row["seed"], row["direction"], row["metric"]]


def test_the_summary_has_means_over_seeds(finished):
    rows = list(csv.DictReader(io.StringIO(finished.text("tables/summary.tsv")), delimiter="\t"))
    assert len(rows) == len(SYSTEMS) * 3 * (12 + 2)
    values: dict[tuple[str, ...], list[float]] = {}
    for row in scores(finished):
        values.setdefault((row["system"], row["direction"], row["metric"]), []).append(float(row["value"]))
    spread = set()
    for row in rows:
        assert row["seeds"] == ("1" if row["system"] == "Base" else "2")
        assert (row["sd"] == "") == (row["system"] == "Base")
        assert (row["p"] == row["p_corrected"] == "") == (row["system"] == "MT")
        if row["direction"] != "AVG":
            found = values[row["system"], row["direction"], row["metric"]]
            assert float(row["mean"]) == pytest.approx(statistics.mean(found), abs=1e-3)
            if len(found) > 1:
                assert float(row["sd"]) == pytest.approx(statistics.stdev(found), abs=1e-3)
                spread.add(float(row["sd"]) > 0)
    assert True in spread
    assert "training variance is not covered" in finished.text("tables/zero_shot.md")


def test_seeds_share_everything_but_the_training(finished):
    drawn = [finished.text(f"download/demo/seed{seed}/train.jsonl") for seed in SEEDS]
    assert drawn[0] != drawn[1]
    folder = finished.folder / "results"
    assert sorted(path.name for path in (folder / "decode/tiny/demo").iterdir()) == ["seed1", "seed2", "shared"]
    assert [path.name for path in (folder / "decode/tiny/demo/shared").iterdir()] == ["Base"]
    assert not (folder / "decode/tiny/demo/seed1/Base").exists()
    for model in ("finetune/tiny/demo/seed{}/mt", "unlikelihood/tiny/demo/seed{}/lat"):
        steps = [finished.text(f"{model.format(seed)}/steps.tsv") for seed in SEEDS]
        assert steps[0] != steps[1]


# The jobs of one seed, and those that gather all seeds.
ONE_SEED = {"draw": 1, "train_prompts": 2, "finetune": 2, "conflicts": 1, "unlikelihood": 1, "convert": 3,
            "decode": 7, "detect": 7, "score": 7} | REPORTING  # fmt: skip


def test_another_seed_trains_only_itself(finished):
    assert finished.planned({"seeds": [1, 2, 3]}) == ONE_SEED
    done = finished.snakemake("--dry-run", "--cores", "2", overlay={"seeds": [1, 2, 3]})
    seeds = set(re.findall(r"^Job \d+: .*?\(.*(seed\d+)\)", done.stdout, re.MULTILINE))
    assert seeds == {"seed3"}
    assert finished.planned({"seeds": [1]}) == REPORTING
    experiment = {"base_model": "tiny", "benchmark": "demo", "systems": SYSTEMS, "seeds": [1, 2, 3]}
    assert finished.planned({"experiments": [experiment]}) == ONE_SEED


def test_another_split_seed_makes_everything_again_but_the_downloads(finished):
    planned = finished.planned({"benchmarks": {"demo": {"split_seed": 2}}})
    assert planned["split_benchmark"] == planned["build_base_model"] == 1
    assert planned["decode"] == len(RUNS) and "fetch_source" not in planned


def test_tables_exist_in_every_format(finished):
    for name in ("zero_shot", "supervised"):
        for suffix in ("md", "tsv", "tex", "html"):
            text = finished.text(f"tables/{name}.{suffix}")
            assert all(system.replace("_", "\\_" if suffix == "tex" else "_") in text for system in SYSTEMS)
    assert "| System | it-nl | nl-it | it-ro | ro-it | nl-ro | ro-nl | AVG |" in finished.text("tables/zero_shot.md")


def test_sacrebleu_gives_the_score_of_the_table(finished):
    folder = finished.folder / "results"
    command = [sys.executable, "-m", "sacrebleu", f"{folder}/download/demo/test/en-it.ref.txt"]
    command += ["-i", f"{folder}/decode/tiny/demo/shared/Base/en-it.txt", "--width", "4", "--score-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = next(
        row for row in scores(finished)
        if (row["system"], row["direction"], row["metric"]) == ("Base", "en-it", "BLEU")
    )  # fmt: skip
    assert float(done.stdout) == pytest.approx(float(row["value"]), abs=1e-4)


def test_hypotheses_have_one_line_per_source_line(finished):
    for run, system in RUNS:
        for direction in DIRECTIONS:
            assert finished.text(f"decode/tiny/demo/{run}/{system}/{direction}.txt").count("\n") == 12
            assert finished.text(f"download/demo/test/{direction}.src.txt").count("\n") == 12
            assert finished.text(f"download/demo/test/{direction}.ref.txt").count("\n") == 12


def test_no_test_sentence_in_any_language_occurs_in_training(finished):
    held_out = {
        normalise(line)
        for direction in DIRECTIONS
        for kind in ("src", "ref")
        for line in finished.text(f"download/demo/test/{direction}.{kind}.txt").splitlines()
    }
    trained = set()
    for seed in SEEDS:
        for line in finished.text(f"download/demo/seed{seed}/train.jsonl").splitlines():
            sample = json.loads(line)
            trained |= {normalise(sample["source"]), normalise(sample["target"])}
    for line in finished.text("download/demo/monolingual.jsonl").splitlines():
        trained.add(normalise(json.loads(line)["text"]))
    shown = {
        normalise(json.loads(line)[side])
        for direction in DIRECTIONS
        for line in finished.text(f"download/demo/demonstrations/{direction}.jsonl").splitlines()
        for side in ("source", "target")
    }
    assert len(held_out) > 40 and len(trained) > 500
    assert not held_out & trained
    assert not held_out & shown
    assert not shown & trained


def test_stage_two_trains_on_conflicts_and_logs_the_unlikelihood_loss(finished):
    header, *rows = finished.text("unlikelihood/tiny/demo/seed1/lat/steps.tsv").splitlines()
    column = header.split("\t").index("unlikelihood_loss")
    assert len(rows) == 4
    assert all(float(row.split("\t")[column]) > 0 for row in rows)


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.planned({}) == {}


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        (
            {"base_models": {"tiny": {"unlikelihood": {"alpha": 0.3}}}},
            {"unlikelihood": 2, "convert": 2, "decode": 2, "detect": 2, "score": 2} | REPORTING,
        ),
        (
            # all systems except C_src+lang, which is greedy
            {"decode": {"beam": 2}},
            {"decode": 13, "detect": 13, "score": 13} | REPORTING,
        ),
        (
            {"benchmarks": {"demo": {"zero_shot": ["it-nl", "nl-it", "it-ro", "ro-it", "nl-ro"]}}},
            {"test_prompts": 8, "decode": 15, "score": 15}
            | {"detect": 15, "detect_references": 1} | REPORTING,
        ),
        (
            {"detect": {"lid": ["lid.176.bin"]}},
            {"fetch_source": 1, "detect": 15, "detect_references": 1} | REPORTING,
        ),
        (
            {"systems": {"MT-greedy": {"model": "mt", "beam": 1}},
             "experiments": [{"base_model": "tiny", "benchmark": "demo", "systems": [*SYSTEMS, "MT-greedy"]}]},
            {"test_prompts": 1, "decode": 2, "detect": 2, "score": 2} | REPORTING,
        ),
        (
            {"score": {"learned": {"BLEURT-20": {"kind": "bleurt", "model": "lucadiliello/BLEURT-20"}}}},
            {"score_learned": 15} | REPORTING,
        ),
        (
            {"score": {"learned": {"M": {"kind": "metricx", "model": "google/metricx-24-hybrid-large-v2p6"}}}},
            {"score_learned": 15} | REPORTING,
        ),
        (
            {"score": {"learned": {"GEMBA": {"kind": "gemba", "scale": "da", "server": {
                "base_url": "http://127.0.0.1:9/v1", "model": "m"}}}}},
            {"score_gemba": 15} | REPORTING,
        ),
        (
            {"studies": {"alpha": {"label": "weight", "series": {"LAT": {0: "MT", 0.5: "LAT"}}}}},
            {"figures": 1, "page": 1},
        ),
    ],
    ids=["alpha", "beam", "test direction", "identifier", "another system", "a learned metric", "an error",
         "a metric on a server", "a study"],
)  # fmt: skip
def test_a_changed_setting_reruns_only_the_jobs_that_depend_on_it(finished, overlay, expected):
    assert finished.planned(overlay) == expected


def test_an_addition_is_noticed_without_the_triggers_of_snakemake(finished):
    """`--rerun-triggers mtime` keeps finished results, as README.md says; what is new must be made all the same."""
    learned = {"kind": "metricx", "model": "google/metricx-24-hybrid-large-v2p6"}
    overlay = {
        "systems": {"MT-greedy": {"model": "mt", "beam": 1}},
        "add_systems": ["MT-greedy"],
        "decode": {"beam": 2},  # a change, which reruns nothing then
        "score": {"learned": {"M": learned}},
    }
    new = {"test_prompts": 1, "decode": 2, "detect": 2, "score": 2, "score_learned": 17}
    assert finished.planned(overlay, "--rerun-triggers", "mtime") == new | REPORTING


@pytest.mark.parametrize(
    "overlay",
    [
        {"finetune": {"threads": 2, "checkpoint_every": 5}, "unlikelihood": {"threads": 2, "checkpoint_every": 2}},
        {"models": {"lat-2": {"stage": "snapshot", "from": "lat", "step": 2}}},
        {"models": {"other": {"stage": "finetune", "instruction": "after"}}, "systems": {"Other": {"model": "other"}}},
        {"decode": {"shards": 3}},
    ],
    ids=["threads and checkpoints", "a snapshot that no system uses", "a system of no experiment", "shards"],
)
def test_a_setting_without_effect_on_scores_reruns_the_page_that_shows_the_config(finished, overlay):
    assert finished.planned(overlay) == {"page": 1}


def test_another_order_of_directions_reruns_only_what_shows_it(finished):
    zero_shot = [direction for direction in reversed(DIRECTIONS) if "en" not in direction.split("-")]
    assert finished.planned({"benchmarks": {"demo": {"zero_shot": zero_shot}}}) == REPORTING


def test_the_layout_of_a_deepspeed_file_reruns_no_training(finished, tmp_path):
    path = tmp_path / "same.json"
    path.write_text(json.dumps(json.loads((ROOT / "configs/deepspeed/cpu.json").read_text()), indent=8))
    assert finished.planned({"base_models": {"tiny": {"deepspeed": str(path)}}}) == {"page": 1}


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the repository in another place."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def test_a_moved_checkout_reruns_nothing(finished, checkout):
    shutil.copytree(finished.folder / "results", checkout / "results", symlinks=True)
    shutil.copytree(finished.folder / ".snakemake", checkout / ".snakemake")
    moved = checkout.rename(checkout.with_name("moved"))
    assert type(finished)(moved, moved).planned({}) == {}


TRAINED = {"finetune": 4, "unlikelihood": 2, "convert": 7, "decode": 15, "detect": 15, "score": 15} | REPORTING


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        (
            "resources/prompts.yaml",
            "Translate the following sentences from",
            "Please translate the following sentences from",
            {"train_prompts": 4, "test_prompts": 8, "conflicts": 2, "build_base_model": 1} | TRAINED,
        ),
        (
            "resources/languages.tsv",
            "sh\t",
            "ro\t\t\tmol_Cyrl\t\nsh\t",
            {"split_benchmark": 1, "draw": 2, "detect_references": 1, "train_prompts": 4, "test_prompts": 8,
             "conflicts": 2, "build_base_model": 1} | TRAINED,
        ),
        ("resources/prompts.yaml", "# ", "#  ", {}),
    ],
    ids=["a wording", "a language", "a comment"],
)  # fmt: skip
def test_changed_resources_rerun_what_reads_them(finished, checkout, path, old, new, expected):
    file = checkout / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert type(finished)(finished.folder, checkout).planned({}) == expected


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("evaluation/offtarget.py", "CONFUSION_SCORE = 0.3", "CONFUSION_SCORE = 0.4",
         {"detect": 15, "detect_references": 1} | REPORTING),
        ("training/losses.py", "return -log_one_minus_p", "return -2 * log_one_minus_p",
         {"build_base_model": 1} | TRAINED),
        ("prompts/prompting.py", 'f"### {wording[', 'f"## {wording[',
         {"train_prompts": 4, "test_prompts": 8, "conflicts": 2, "build_base_model": 1} | TRAINED),
        ("reporting/charts.py", '"font.size": TEXT_SIZE', '"font.size": 11', {"figures": 1, "page": 1}),
        ("training/losses.py", '"""Compute the unlikelihood loss', '"""Compute the loss', {}),
        ("training/losses.py", "# The published floor", "# A floor", {}),
    ],
    ids=["off-target", "losses", "prompting", "charts", "a docstring", "a comment"],
)  # fmt: skip
def test_changed_code_reruns_the_steps_that_execute_it(finished, checkout, path, old, new, expected):
    file = checkout / "workflow_scripts" / "lat" / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert type(finished)(finished.folder, checkout).planned({}) == expected


def test_the_same_seed_gives_the_same_scores(finished, tmp_path_factory):
    again = type(finished)(tmp_path_factory.mktemp("again"))
    # the downloads are identical, since their checksums are verified
    sources = again.folder / "results" / "download"
    sources.mkdir(parents=True)
    (sources / "sources").symlink_to(finished.folder / "results" / "download" / "sources")
    again.snakemake("--cores", "2", overlay={"seeds": [2]})
    expected = [line for line in finished.text("tables/scores.tsv").splitlines() if line.split("\t")[3] != "1"]
    assert again.text("tables/scores.tsv").splitlines() == expected
    assert "One training seed" in again.text("tables/zero_shot.md")


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({"decode": {"beams": 4}}, "config: unknown key `beams` in decode; did you mean `beam`?"),
        ({"benchmarks": {"demo": {"zero_shot": ["it-dutch"]}}}, "benchmarks.demo.zero_shot"),
        ({"systems": {"LAT": {"model": "latt"}}}, "systems.LAT.model: `latt` is not among the models"),
    ],
)
def test_a_mistake_in_the_config_stops_before_any_job(finished, overlay, message):
    done = finished.snakemake("--cores", "2", overlay=overlay, check=False)
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if message in line]
    assert len(lines) == 1
    assert "Job stats" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({}, "score.learned.B needs an environment of its own: run `make bleurt`"),
        ({"python": "no/python"}, "score.learned.B.python: no file no/python; run `make bleurt`"),
    ],
)
def test_a_metric_without_its_environment_stops_before_any_job(finished, metric, message):
    overlay = {"score": {"learned": {"B": {"kind": "bleurt", "model": "models/b", **metric}}}}
    done = finished.snakemake("--cores", "2", overlay=overlay, check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Score: B" not in done.stdout + done.stderr


def test_the_page_has_all_output_lines_of_all_systems(finished):
    text = finished.text("page/index.html")
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)

    def pack(name):
        packed = re.search(rf'id="{name}">([^<]+)<', text).group(1)
        return json.loads(gzip.decompress(base64.b64decode(packed)))

    (experiment,) = pack("experiments")
    names = [direction["name"] for direction in experiment["directions"]]
    assert sorted(names) == sorted(DIRECTIONS)
    outputs = {run: dict(pack(f"outputs-0-{run}")) for run in ("shared", *map(str, SEEDS))}
    assert [(f"seed{run}".replace("seedshared", "shared"), name) for run in outputs for name in outputs[run]] == RUNS
    for run, name in RUNS:
        lines = finished.text(f"decode/tiny/demo/{run}/{name}/it-nl.txt").splitlines()
        assert outputs[run.removeprefix("seed")][name][names.index("it-nl")][0] == lines
    for label in ("off-target ratio (%)", "the source language", "loss (nats per token)"):  # in the figures
        assert label in text
    assert "multilingual: 0.1" in text  # in the configuration


def test_the_report_has_the_captions_of_tables_and_figures(finished):
    path = finished.folder / "report.html"
    finished.snakemake("--report", str(path))
    text = path.read_text()
    for caption in ("an OTR below it is not meaningful", "running mean", "Versions of the libraries"):
        assert caption in text


def copy_of(finished, folder):
    """A copy of a finished run in another folder, whose results are as old as the original ones."""
    shutil.copytree(finished.folder, folder, symlinks=True)
    return type(finished)(folder)


def test_another_config_does_not_replace_results_in_silence(finished, tmp_path):
    run = copy_of(finished, tmp_path / "run")
    # Its overlay is inside the folder, so that the copy has the config of the original.
    assert known_configs(run.folder / RECORD) == [[str(ROOT / "configs" / "smoke.yaml"), "overlay.yaml"]]
    other = {"base_models": {"tiny": {"unlikelihood": {"alpha": 0.3}}}}
    before = run.text("tables/scores.tsv")
    command = ["--config", "unlikelihood={steps: 3}"]
    done = run.snakemake("--cores", "2", *command, overlay=other | {"replace": False}, check=False)
    said = done.stdout + done.stderr
    assert done.returncode and "Traceback" not in said
    (line,) = {line for line in said.splitlines() if "would replace results" in line}
    assert "unlikelihood 2" in line and "--config replace=true" in line
    assert "This run would stop" in run.snakemake("--dry-run", "--cores", "2", *command, overlay=other).stdout
    # The first config still has nothing to do, and an edit of it, here of its overlay, runs as usual.
    assert run.text("tables/scores.tsv") == before
    assert run.planned({}) == {}
    assert "would stop" not in run.snakemake("--dry-run", "--cores", "2", overlay=other).stdout
    # Another data set reaches the results as changed inputs only.
    catalogues = {"benchmarks": {"demo": {"catalogues": ["django-allauth", "django", "thonny"]}}}
    done = run.snakemake("--dry-run", "--cores", "2", "--config", "seeds=[1,2]", overlay=catalogues)
    assert "split_benchmark" in done.stdout and "This run would stop" in done.stdout
    # The remedy works as it is printed.
    done = run.snakemake("--dry-run", "--cores", "2", *command, "replace=true", overlay=other)
    assert "would stop" not in done.stdout
    # A config that only adds results may always run.
    assert "would stop" not in run.snakemake("--dry-run", "--cores", "2", "--config", "seeds=[1,2,3]").stdout


def test_translations_from_outside_are_a_row_of_the_tables(finished, tmp_path):
    """The outputs of MT as files of the user get the scores of MT; a file that is too short stops the run."""
    run, folder = copy_of(finished, tmp_path / "run"), tmp_path / "own"
    folder.mkdir()
    for path in (run.folder / "results/decode/tiny/demo/seed1/MT").glob("*-*.txt"):
        shutil.copy(path, folder)
    overlay = {"systems": {"Outside": {"hypotheses": str(folder)}}, "add_systems": ["Outside"]}
    planned = run.planned(overlay)
    assert set(planned) <= {"use_hypotheses", "detect", "score", "significance", "tables", "figures", "page"}
    assert (planned["use_hypotheses"], planned["detect"], planned["score"]) == (1, 1, 1)
    lines = (folder / "it-nl.txt").read_text()
    (folder / "it-nl.txt").write_text(lines + "one more\n")
    done = run.snakemake("--cores", "2", overlay=overlay, check=False)
    assert done.returncode and "it-nl.txt: 13 lines, but the test set of it-nl has 12; translate" in done.stdout
    (folder / "it-nl.txt").write_text(lines)
    run.snakemake("--cores", "2", overlay=overlay)
    found = {}
    for row in scores(run):
        found.setdefault((row["system"], row["seed"]), {})[row["direction"], row["metric"]] = row["value"]
    assert found["Outside", "shared"] == found["MT", "1"]
    assert "Outside" in run.text("tables/zero_shot.md")


def test_translations_from_outside_can_have_seeds(finished, tmp_path):
    """Folders of two seeds get a score for each, their mean in the summary, and a test with as many seeds."""
    run, folder = copy_of(finished, tmp_path / "run"), tmp_path / "own"
    results = run.folder / "results/decode/tiny/demo"
    origins = {("Own", 1): "MT", ("Own", 2): "LAT", ("Other", 1): "LAT", ("Other", 2): "LAT"}
    for (system, seed), origin in origins.items():
        (folder / f"seed{seed}").mkdir(exist_ok=True, parents=True)
        shutil.copytree(results / "seed1" / origin, folder / f"seed{seed}" / system)
    overlay = {
        "systems": {name: {"hypotheses": str(folder / "seed{seed}" / name)} for name in ("Own", "Other")},
        "experiments": [{"benchmark": "demo", "systems": ["Other", "Own"]}],
        "seeds": [1, 2],
        "significance": {"baselines": ["Other"]},
    }
    before = {
        (row["system"], row["direction"], row["metric"]): row["value"] for row in scores(run) if row["seed"] == "1"
    }
    planned = run.planned(overlay)
    assert (planned["use_hypotheses"], planned["detect"], planned["score"]) == (4, 4, 4)
    run.snakemake("--cores", "2", overlay=overlay)
    rows = [row for row in scores(run) if row["system"] in ("Own", "Other")]
    assert {(row["system"], int(row["seed"])) for row in rows} == set(origins)
    for row in rows:
        origin = origins[row["system"], int(row["seed"])]
        assert row["value"] == before[origin, row["direction"], row["metric"]]
    (tested,) = (
        row
        for row in csv.DictReader(run.text("tables/comparisons.tsv").splitlines(), delimiter="\t")
        if (row["supervision"], row["direction"], row["metric"]) == ("zero-shot", "AVG", "chrF++")
        and (row["system"], row["baseline"]) == ("Own", "Other")
    )
    assert tested["seeds"] == "2" and float(tested["difference"])
    # A seed without a folder is refused before any job.
    done = run.snakemake("--dry-run", "--config", "seeds=[1,2,3]", overlay=overlay, check=False)
    assert done.returncode and "systems.Other.hypotheses: no folder" in done.stderr and "seed3/Other" in done.stderr


def test_a_server_is_a_row_of_the_tables(finished, tmp_path, server, monkeypatch):  # noqa: F811
    """A server that gives the outputs of MT gets the scores of MT; nothing is asked twice, and the key is not shown."""
    run, log = copy_of(finished, tmp_path / "run"), "decode/logs/tiny-demo-shared-GPT.log"
    served = {"base_url": server.url, "model": "j", "key": "THE_KEY", "parallel": 2}
    overlay = {"systems": {"GPT": {"server": served}}, "add_systems": ["GPT"]}
    jobs = {"translate_on_server": 1, "detect": 1, "score": 1, **REPORTING}
    assert run.planned(overlay) == jobs
    done = run.snakemake("--cores", "2", overlay=overlay, check=False)
    assert done.returncode and "systems.GPT.server: the environment variable THE_KEY is not set" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr and not (run.folder / "results" / log).exists()
    monkeypatch.setenv("THE_KEY", KEY)

    outputs = {}
    for direction in DIRECTIONS:
        sources, lines = (
            run.text(path).split("\n")[:-1]
            for path in (f"download/demo/test/{direction}.src.txt", f"decode/tiny/demo/seed1/MT/{direction}.txt")
        )
        asked = [f"{translation_instruction(direction)}\n\n{source}" for source in sources]
        outputs |= zip(asked, lines, strict=True)
    Server.reply = staticmethod(lambda text: outputs[text].replace(" ", "\n", 1))
    Server.failures = [(401, f"bad key {KEY}")]
    done = run.snakemake("--cores", "2", overlay=overlay, check=False)
    assert done.returncode and "answers 401 (bad key ***); check the key in the variable that" in done.stdout
    run.snakemake("--cores", "2", overlay=overlay)
    assert all(body["max_tokens"] == 512 and body["temperature"] == 0 for _, _, body in Server.requests)
    count = len(outputs) + 1  # One request was refused.
    assert len(Server.requests) == count
    found = {}
    for row in scores(run):
        found.setdefault((row["system"], row["seed"]), {})[row["direction"], row["metric"]] = row["value"]
    assert found["GPT", "shared"] == found["MT", "1"]
    assert "| GPT |" in run.text("tables/zero_shot.md") and "replies have several lines" in run.text(log)
    for path in run.folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert KEY.encode() not in path.read_bytes(), path

    assert run.planned(overlay) == {}
    other = {"parallel": 1, "key": None, "prices": {"prompt": 1, "completion": 1}, "max_cost": 1}
    assert set(run.planned(overlay | {"systems": {"GPT": {"server": served | other}}})) <= {"page"}
    changed = {"systems": {"GPT": {"server": served | {"request": {"seed": 2}}}}}
    assert run.planned(overlay | changed) == jobs
    again = ("--forcerun", "translate_on_server", "--until", "translate_on_server")
    run.snakemake("--cores", "2", *again, overlay=overlay | {"replace": True})
    assert f"{len(DIRECTIONS) * 12} lines for j, 0 still to ask" in run.text(log)
    assert len(Server.requests) == count

    # Without a base model, with the same replies.
    alone = {"experiments": [{"benchmark": "demo", "systems": ["GPT"]}], "significance": {"baselines": ["GPT"]}}
    run.snakemake("--cores", "2", overlay=overlay | alone | {"replace": True})
    assert len(Server.requests) == count
    assert "external on demo" in run.text("tables/zero_shot.md")
    for direction in DIRECTIONS:
        texts = [run.text(f"decode/{name}/demo/shared/GPT/{direction}.txt") for name in ("tiny", "external")]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(("keep", "left"), [("final", {"mt-postins", "lat"}), ("none", set())])
def test_weights_are_deleted_after_their_last_use(finished, tmp_path, keep, left):
    run = Run(tmp_path)
    sources = run.folder / "results" / "download"
    sources.mkdir(parents=True)
    (sources / "sources").symlink_to(finished.folder / "results" / "download" / "sources")
    experiment = {"base_model": "tiny", "benchmark": "demo", "systems": ["MT", "Post-ins", "LAT"]}
    overlay = {"seeds": [1], "keep": {"weights": keep}, "experiments": [experiment]}
    run.snakemake("--cores", "2", overlay=overlay)
    models = {path.parent.name for path in run.folder.glob("results/*/tiny/demo/seed1/*/model") if any(path.iterdir())}
    assert models == left
    assert not list(run.folder.glob("results/convert/tiny/demo/*/*"))
    assert (run.folder / "results/base_model/tiny/model/model.safetensors").is_file()
    # What was made from the deleted weights is still valid.
    assert run.planned(overlay) == {}

"""The plan of a dry-run: its formulas against calculations by hand, unknown sizes, and the lines that the user sees."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from tests.conftest import ROOT
from workflow_scripts.lat import plan
from workflow_scripts.lat.config.sweeps import expand_sweeps
from workflow_scripts.lat.plan import BenchmarkFiles, Estimate, PlannedJob, UnknownSize, estimate, make_plan

NO_FILES = {}


def load(*overlays):
    """Return the default config with overlays."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name in overlays:
        update_config(config, yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()))
    expand_sweeps(config)
    return config


def wildcards(**others):
    return {"base_model": "llama2-7b", "benchmark": "iwslt4", "run": "seed1", **others}


def test_training_needs_six_operations_per_parameter_and_token():
    # 6 x 1e9 x 1,248 x 140 operations at 0.4 x 312e12 per second take 8.4 s; 8 GPUs wait for 60 s and for 4e9 bytes
    hours = plan.training_gpu_hours(1e9, 1248, gpus=8, bytes_moved=4e9)
    assert hours == pytest.approx((8.4 + 8 * 64) / 3600)
    assert plan.training_gpu_hours(1e9, 1248, gpus=0, bytes_moved=4e9) == 0


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        # 16,384 // (100 + 4 x 512) = 7 lines per batch, 18 and 1 batches of 80 steps
        ({}, 19 * 80),
        ({"stops_early": False}, 19 * 512),
        # demonstrations are stored once
        ({"shots": 5}, 19 * 80),
        # 16,384 // (3 x 612) = 8
        ({"contrasts": 2}, 16 * 80),
    ],
)
def test_decoding_reads_the_weights_at_every_step_of_every_batch(changes, steps):
    settings = {"max_new_tokens": 512, "batch_tokens": 16384, "engine": "transformers", "beam": 4}
    arguments = {"lines": [120, 5], "contrasts": 0, "shots": 0, "stops_early": True, "settings": settings} | changes
    assert plan.decoding_gpu_hours(2e9, **arguments) == pytest.approx((60 + 2 + steps * 0.001 * 5) / 3600)


@pytest.mark.parametrize(("shots", "batches"), [(0, 21), (5, 42)])
def test_ctranslate2_stores_the_prompt_of_every_hypothesis(shots, batches):
    # 16,384 // (4 x 612) = 6 lines per batch, 16,384 // (4 x 1,112) = 3 with demonstrations
    settings = {"max_new_tokens": 512, "batch_tokens": 16384, "engine": "ctranslate2", "beam": 4}
    hours = plan.decoding_gpu_hours(2e9, [120, 5], contrasts=0, shots=shots, stops_early=True, settings=settings)
    assert hours == pytest.approx((60 + 2 + batches * 80 * 0.001 * 2) / 3600)


@pytest.mark.parametrize(
    ("changes", "lines", "steps"),
    [
        # 16,384 // (100 + 4 x 512) = 7 lines at once, each of 44 steps
        ({}, 7, 44),
        ({"stops_early": False}, 7, 512),
        # 16,384 // (600 + 4 x 512) = 6
        ({"shots": 5}, 6, 44),
    ],
)
def test_a_beam_search_on_vllm_costs_a_request_for_every_hypothesis_and_step(changes, lines, steps):
    settings = {"max_new_tokens": 512, "batch_tokens": 16384, "engine": "vllm", "beam": 4}
    arguments = {"lines": [1000, 400], "contrasts": 0, "shots": 0, "stops_early": True, "settings": settings} | changes
    seconds = 1400 * steps / lines * (0.001 * 2 + lines * 4 * 0.0004)
    assert plan.decoding_gpu_hours(2e9, **arguments) == pytest.approx((60 + 2 + seconds) / 3600)


def test_a_greedy_search_on_vllm_decodes_many_lines_at_once():
    settings = {"max_new_tokens": 512, "batch_tokens": 16384, "engine": "vllm", "beam": 1}
    arguments = {"contrasts": 0, "shots": 0, "stops_early": True, "settings": settings}
    steps = 1400 * 44 / 256
    assert plan.decoding_gpu_hours(2e9, [1400], **arguments) == pytest.approx((62 + steps * 0.002) / 3600)
    # With four GPUs, each waits for the start, and each reads a quarter of the weights.
    assert plan.decoding_gpu_hours(2e9, [1400], gpus=4, **arguments) == pytest.approx((4 * 62 + steps * 0.002) / 3600)


def test_the_shards_of_a_system_share_its_lines_and_each_loads_the_model():
    config = load("paper-iwslt4")
    whole = estimate(config, "decode", wildcards(system="MT"), NO_FILES)
    shards = [wildcards(system="MT", shard=str(number), shards="5") for number in range(1, 6)]
    parts = [estimate(config, "decode_shard", names, NO_FILES).gpu_hours for names in shards]
    assert sum(parts) == pytest.approx(whole.gpu_hours + 4 * (60 + 2 * 6.74) / 3600)
    # 12 directions: two or three for each job
    assert len(set(parts)) == 2
    assert estimate(config, "merge_shards", wildcards(system="MT"), NO_FILES) == Estimate()


def test_training_needs_space_for_the_model_its_snapshots_and_checkpoints():
    config = load("paper-sweeps")
    weights = 2 * 6.74e9
    stage1 = estimate(config, "finetune", wildcards(model="mt"), NO_FILES)
    assert (stage1.disk, stage1.checkpoints) == (weights, 2 * 14 * 6.74e9)
    stage2 = estimate(config, "unlikelihood", wildcards(model="lat"), NO_FILES)
    # snapshots after 20, 40, 60 and 80 steps; a checkpoint every ten minutes
    assert (stage2.disk, stage2.checkpoints) == (5 * weights, 2 * 14 * 6.74e9)
    # 281 steps of 128 samples, and 100 steps of 8 samples, each trained on twice
    for found, sequences, files in ((stage1, 281 * 128, 2), (stage2, 100 * 8 * 2, 6)):
        expected = plan.training_gpu_hours(6.74e9, sequences, 8, files * weights)
        assert found.gpu_hours == pytest.approx(expected)
    config["base_models"]["llama2-7b"]["nodes"] = 2
    assert estimate(config, "finetune", wildcards(model="mt"), NO_FILES).gpu_hours > stage1.gpu_hours
    config["finetune"]["lora_rank"] = 8
    assert estimate(config, "finetune", wildcards(model="mt"), NO_FILES).checkpoints == 0


def test_a_choice_among_snapshots_decodes_with_each_of_them_one_after_another():
    config = load("paper-iwslt4")
    config["benchmarks"]["iwslt4"]["dev"] = {"directions": ["it-nl", "ro-it"]}
    config["models"]["lat-best"] = {"stage": "snapshot", "from": "lat", "step": "best", "every": 40}
    config["systems"]["LAT-best"] = {"model": "lat-best"}
    config["experiments"][0]["systems"] = [*config["experiments"][0]["systems"], "LAT-best"]
    best = wildcards(model="lat-best")
    # The stage-1 model, steps 40, 80 and 100; the 50 lines of a direction are one batch
    one = (60 + 2 * 6.74 + 2 * 80 * 2 * 6.74e9 / 2e12 * 5) / 3600
    found = estimate(config, "select", best, NO_FILES)
    assert found == Estimate(gpu_hours=pytest.approx(4 * one))
    # The snapshots that are saved for it; the model after the last step is there in any case.
    assert estimate(config, "unlikelihood", wildcards(model="lat"), NO_FILES).disk == 3 * 2 * 6.74e9
    config["benchmarks"]["iwslt4"]["dev"]["sentences"] = 200
    assert estimate(config, "select", best, NO_FILES).gpu_hours > found.gpu_hours
    # Dev directions are not decoded by the systems, nor by the stage-1 model for its off-targets.
    assert len(plan.count_test_lines("iwslt4", config["benchmarks"]["iwslt4"], NO_FILES)) == 10
    assert len(plan.count_off_target_lines(config, "iwslt4")) == 4
    assert plan.job_seconds(config, "select", best, NO_FILES) > plan.TEXT_SECONDS
    config["base_models"]["llama2-7b"]["gpus"] = 0
    assert estimate(config, "select", best, NO_FILES) == Estimate()


def test_models_and_sources_are_downloaded():
    config = load("paper-iwslt4")
    size = 2 * 8.03e9
    found = estimate(config, "fetch_base_model", {"base_model": "llama3-8b"}, NO_FILES)
    assert found == Estimate(disk=size, download=size)
    found = estimate(config, "fetch_source", {"source": "lid.176.bin"}, NO_FILES)
    assert found == Estimate(disk=131266198, download=131266198)
    config["base_models"]["mine"] = {"path": "models/mine"}
    assert estimate(config, "fetch_base_model", {"base_model": "mine"}, NO_FILES) == Estimate()


def test_a_built_model_has_the_parameters_of_its_shape_and_needs_no_gpu():
    config = load()
    # embeddings: 6,000 x 128; 3 layers of 4 x 128^2 + 3 x 128 x 352 and two norms; one final norm
    parameters = 768_000 + 3 * (65_536 + 135_168 + 256) + 128
    assert plan.count_parameters("tiny", config["base_models"]["tiny"]) == parameters
    experiment = {"base_model": "tiny", "benchmark": "demo", "run": "seed1"}
    assert estimate(config, "build_base_model", {"base_model": "tiny"}, NO_FILES) == Estimate(disk=4 * parameters)
    assert estimate(config, "convert", experiment | {"model": "mt"}, NO_FILES) == Estimate(disk=4 * parameters)
    assert estimate(config, "finetune", experiment | {"model": "mt"}, NO_FILES).gpu_hours == 0
    assert estimate(config, "decode", experiment | {"system": "MT"}, NO_FILES) == Estimate()
    assert estimate(config, "detect", experiment | {"system": "MT"}, NO_FILES) == Estimate()


def test_lines_of_existing_files_are_counted(tmp_path):
    benchmarks = load()["benchmarks"]
    files = {name: BenchmarkFiles(tmp_path / name, tmp_path / name / "test") for name in benchmarks}
    assert plan.count_samples("wmt", benchmarks["wmt"], "seed1", files) == plan.ALL_SAMPLES
    assert plan.count_test_lines("wmt", benchmarks["wmt"], files) == [2000] * 14
    files["wmt"].test.mkdir(parents=True)
    (files["wmt"].folder / "seed1").mkdir()
    (files["wmt"].folder / "seed1" / "train.jsonl").write_text("{}\n" * 7)
    (files["wmt"].test / "de-en.ref.txt").write_text("a\nb\n")
    assert plan.count_samples("wmt", benchmarks["wmt"], "seed1", files) == 7
    assert plan.count_samples("wmt", benchmarks["wmt"], "seed2", files) == plan.ALL_SAMPLES
    assert plan.count_test_lines("wmt", benchmarks["wmt"], files)[:2] == [2000, 2]
    assert plan.count_samples("iwslt4", benchmarks["iwslt4"], "seed1", files) == 12_000
    assert plan.count_test_lines("iwslt4", benchmarks["iwslt4"], files) == [1150] * 12
    assert plan.count_test_lines("demo", benchmarks["demo"], files) == [40] * 12


def test_the_plan_says_which_weights_remain():
    config = load("paper-iwslt4")
    jobs = [PlannedJob("finetune", "finetune", wildcards(model=name), on_gpu=True) for name in ("mt", "mt-postins")]
    jobs += [PlannedJob("unlikelihood", "unlikelihood", wildcards(model="lat"), on_gpu=True)]
    jobs += [PlannedJob("convert", "convert", wildcards(model="mt"), on_gpu=False)]
    remaining = {}
    for keep in ("all", "final", "none"):
        config["keep"]["weights"] = keep
        lines = make_plan(config, jobs, ["finetune", "unlikelihood", "convert"], NO_FILES)
        assert next(line for line in lines if line.startswith("total")).split()[3] == "54"
        remaining[keep] = [line for line in lines if "remain" in line]
    assert remaining == {
        "all": [],
        # mt-postins and lat, of 13.5 GB each
        "final": ["The files need up to 54 GB; 27 GB remain, since keep.weights is final."],
        "none": ["The files need up to 54 GB; 0 GB remain, since keep.weights is none."],
    }


def test_unknown_sizes_are_listed_with_the_remedy():
    config = load("paper-iwslt4")
    del config["base_models"]["llama2-7b"]["parameters"]
    with pytest.raises(UnknownSize, match=r"set base_models\.llama2-7b\.parameters"):
        estimate(config, "finetune", wildcards(model="mt"), NO_FILES)
    jobs = [
        PlannedJob("finetune", "finetune", wildcards(model="mt"), on_gpu=True),
        PlannedJob("download", "fetch_source", {"source": "iwslt17-train"}, on_gpu=False),
        PlannedJob("score", "score_learned", wildcards(system="MT", learned="BLEURT-20"), on_gpu=False),
    ]
    lines = make_plan(config, jobs, ["download", "finetune", "decode", "score"], NO_FILES)
    assert lines[2:] == [
        "download     1",
        "finetune     1",
        "score        1",
        "total        3",
        "GPU-hours are those of an A100 with 80 GB.",
        "Not counted, since their size is unknown: BLEURT-20; iwslt17-train; llama2-7b: set"
        " base_models.llama2-7b.parameters.",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, ""), (0.01, "<0.1"), (0.14, "0.1"), (9.94, "9.9"), (9.96, "10"), (236, "240"), (1234, "1,200")],
)
def test_numbers_have_two_digits(value, text):
    assert plan._rounded(value) == text


def dry_run(folder, names, *arguments):
    """The rows of the plan by step, and all lines of the plan, as printed on the standard output."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    command += [
        "--dry-run",
        *arguments,
        "--configfile",
        *(str(ROOT / "configs" / f"{name}.yaml") for name in names.split()),
    ]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "Traceback" not in done.stderr
    lines = done.stdout.partition("\nPlan: ")[2].splitlines()
    return {cells[0]: cells[1:] for cells in map(str.split, lines)}, lines


def test_a_dry_run_of_the_paper_ends_with_its_plan(tmp_path):
    source = tmp_path / "results" / "download" / "sources" / "lid.176.bin" / "lid.176.bin"
    source.parent.mkdir(parents=True)
    source.touch()
    steps, lines = dry_run(tmp_path, "paper-iwslt4")
    # one of five sources exists already
    counts = {
        "download": 9, "prompts": 20, "base_model": 4, "finetune": 4, "conflicts": 2, "unlikelihood": 2, "decode": 16,
        "detect": 17, "score": 32, "significance": 2, "tables": 1, "figures": 1, "page": 1, "total": 111,
    }  # fmt: skip
    assert {step: int(steps[step][0]) for step in counts} == counts
    # the two models as published
    assert steps["base_model"] == ["4", "30", "30"]
    assert float(steps["total"][1]) > float(steps["decode"][1]) > float(steps["finetune"][1]) > 0
    assert "GPU-hours are those of an A100 with 80 GB." in lines
    assert lines[-1] == "Not counted, since their size is unknown: BLEURT-20; iwslt17-test; iwslt17-train."


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """The plan of all of the paper, in an empty folder."""
    names = "paper-iwslt4 paper-wmt paper-sweeps paper-general grids/paper"
    return dry_run(tmp_path_factory.mktemp("grid"), names, "--quiet", "rules")


def test_the_documentation_shows_the_plan_of_the_paper(grid):
    _, lines = grid
    documented = (ROOT / "docs" / "paper.md").read_text().partition("\nPlan: ")[2].partition("\n```\n")[0]
    assert documented.splitlines() == lines


def test_the_experiments_of_the_grid_share_models(grid):
    steps, lines = grid
    # MT and Post-ins for two base models on two benchmarks; MT on three more benchmarks, for a larger base model, and
    # with Alpaca
    assert steps["finetune"][0] == str(2 * 2 * 2 + 3 + 1 + 1)
    # 14 more values of alpha, 4 snapshots of one of these training runs, and LAT for each MT
    assert steps["unlikelihood"][0] == str(14 + 4 + 2 * 2 + 3 + 1 + 1)
    assert steps["decode"][0] == str(28 + 3 * 8 + 4 * 2 + 2)
    assert "alpaca; alpacaeval" in lines[-1]


def test_a_dry_run_of_the_demo_says_that_it_needs_no_gpu(tmp_path):
    steps, lines = dry_run(tmp_path, "smoke")
    assert lines[-1] == "No GPU is needed."
    assert steps["decode"] == ["8"]


@pytest.mark.parametrize("arguments", [["--quiet"], ["--quiet", "all"], ["--dag"]])
def test_quiet_dry_runs_and_other_commands_print_no_plan(tmp_path, arguments):
    assert dry_run(tmp_path, "smoke", *arguments) == ({}, [])


def test_a_command_that_is_too_long_for_linux_is_refused(tmp_path):
    target = "results/significance/tiny/demo/summary.tsv"
    steps, lines = dry_run(tmp_path, "smoke", target, "--config", f"seeds={list(range(1, 101))}")
    assert steps["significance"] == ["1"]
    assert lines[-1].startswith("This run would stop: config: the command of `significance` would have 1")
    assert "divide the seeds, experiments or directions among several folders" in lines[-1]

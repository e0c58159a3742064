"""The configurations of the paper have the published hyperparameters, directions and systems (Zan et al. 2024)."""

import pytest

from tests.conftest import ROOT
from tests.unit.configs import load_config
from workflow_scripts.lat.config import check_config, step_settings
from workflow_scripts.lat.config.sweeps import expand_sweeps
from workflow_scripts.lat.files import read_table

SYSTEMS = ["Base", "MT", "Post-ins", "PTL", "1-shot", "5-shot", "C_src+lang", "LAT"]

FINETUNE = {
    "learning_rate": 2e-5, "warmup_ratio": 0.03, "weight_decay": 0, "batch_size": 128, "max_length": 512,
    "lora_rank": 0, "freeze_embeddings": False,
}  # fmt: skip
UNLIKELIHOOD = {
    "learning_rate": 2e-6, "warmup_ratio": 0.03, "weight_decay": 0, "batch_size": 8, "max_length": 512, "lora_rank": 0,
    "freeze_embeddings": False, "steps": 100, "conflicts": "instruction",
}  # fmt: skip
EPOCHS = {"iwslt4": 3, "wmt": 1}
ALPHAS = [0, *(number / 100 for number in range(1, 11)), 0.3, 0.5, 0.7, 0.9, 1]
STEPS = [0, 20, 40, 60, 80, 100]


def expanded(*names):
    """The default config, with overlays of configs/ on top, and every sweep expanded."""
    config = load_config(*names)
    expand_sweeps(config)
    return config


@pytest.mark.parametrize(("name", "table"), [("paper-iwslt4", "table2_iwslt"), ("paper-wmt", "table1_wmt")])
def test_the_tables_have_the_systems_and_directions_of_the_paper(name, table):
    config = expanded(name)
    published = read_table(ROOT / "resources" / "paper" / f"{table}.tsv")
    found = {config["base_models"][entry["base_model"]]["paper"] for entry in config["experiments"]}
    assert found == {row["base_model"] for row in published}
    for entry in config["experiments"]:
        benchmark = config["benchmarks"][entry["benchmark"]]
        assert benchmark["paper"] == table
        assert entry["systems"] == SYSTEMS
        assert set(benchmark["zero_shot"]) == {row["direction"] for row in published} - {"avg"}
    assert config["detect"]["lid"] == ["lid.176.bin"]
    assert config["decode"] | {"beam": 4, "max_new_tokens": 512, "early_stopping": False} == config["decode"]


@pytest.mark.parametrize("name", ["paper-iwslt4", "paper-wmt", "paper-sweeps", "paper-general"])
def test_hyperparameters_are_the_published_ones(name):
    config = expanded(name)
    for entry in config["experiments"]:
        base_model, benchmark = entry["base_model"], entry["benchmark"]
        for model, row in config["models"].items():
            if row["stage"] == "finetune":
                found = step_settings(config, "finetune", base_model, benchmark, model)
                assert found | FINETUNE == found
                assert found["epochs"] == EPOCHS[benchmark.split("-")[0]]
            elif row["stage"] == "unlikelihood":
                found = step_settings(config, "unlikelihood", base_model, benchmark, model)
                assert found | UNLIKELIHOOD == found
                alphas = {"lat": 0.05, "lat-alpaca": 0.05, "lat-postins": 0.05, "mt-continued": 0}
                assert found["alpha"] == (alphas[model] if model in alphas else float(model.removeprefix("lat-")))
        assert config["base_models"][base_model]["dtype"] == "bf16"


def test_the_grid_combines_all_four_configurations():
    parts = ["paper-iwslt4", "paper-wmt", "paper-sweeps", "paper-general"]
    expected = {}
    for entry in (entry for name in parts for entry in expanded(name)["experiments"]):
        expected.setdefault((entry["base_model"], entry["benchmark"]), set()).update(entry["systems"])
    grid = expanded(*parts, "grids/paper")
    found = {(entry["base_model"], entry["benchmark"]): set(entry["systems"]) for entry in grid["experiments"]}
    assert found == expected
    check_config(grid, ROOT)


def test_iwslt4_has_12_000_training_samples():
    benchmark = expanded("paper-iwslt4")["benchmarks"]["iwslt4"]
    assert benchmark["train_rows"] * len(benchmark["supervised"]) == 12_000


def test_the_general_tasks_compare_alpaca_models_with_and_without_stage_two():
    config = expanded("paper-general")
    (comparison,) = config["judge"]["comparisons"]
    with_stage_two, without = (config["systems"][comparison[role]]["model"] for role in ("system", "baseline"))
    expected = {"stage": "unlikelihood", "from": without, "translations_only": True}
    assert config["models"][with_stage_two] == expected
    assert config["models"][without]["mix"] == ["alpaca"]
    assert config["judge"]["instructions"] == "alpacaeval"


def test_the_studies_have_the_points_of_the_paper():
    config = expanded("paper-sweeps")
    studies = {name: study["series"] for name, study in config["studies"].items()}
    assert list(studies) == ["alpha", "steps", "data", "model"]
    assert sorted(studies["alpha"]["LAT"]) == ALPHAS
    assert sorted(studies["steps"]["LAT"]) == STEPS
    assert list(studies["data"]["MT"]) == list(studies["data"]["LAT"]) == [12, 24, 48, 96]
    assert list(studies["model"]["LAT"]) == [7, 13]
    for alpha, system in studies["alpha"]["LAT"].items():
        model = config["models"][config["systems"][system]["model"]]
        assert alpha == 0 or step_settings(
            config, "unlikelihood", "llama2-7b", "iwslt4", config["systems"][system]["model"]
        )["alpha"] == alpha, model  # fmt: skip
    for step, system in studies["steps"]["LAT"].items():
        model = config["models"][config["systems"][system]["model"]]
        assert model.get("step", {"finetune": 0}.get(model["stage"], 100)) == step
    for thousands, system in studies["data"]["LAT"].items():
        benchmark = config["benchmarks"][system.split("/")[1] if "/" in system else "iwslt4"]
        assert benchmark["train_rows"] * 6 == thousands * 1000


def test_the_sweeps_make_the_systems_of_the_studies():
    config = expanded("paper-sweeps")
    alphas = [f"LAT-{alpha:g}" for alpha in ALPHAS if alpha not in (0, 0.05)]
    steps = [f"LAT-{step}-steps" for step in STEPS if step not in (0, 100)]
    systems = [*load_config()["systems"], *alphas, *steps]
    assert list(config["systems"]) == systems
    assert [entry["systems"] for entry in config["experiments"]] == [
        ["MT", "LAT", *alphas, *steps], *4 * [["MT", "LAT"]]
    ]  # fmt: skip
    for system in (*alphas, *steps):
        assert config["systems"][system] == {"model": system.lower()}
    for step in steps:
        model = config["models"][step.lower()]
        assert model == {"stage": "snapshot", "from": "lat", "step": int(step.split("-")[1])}
    assert len(config["models"]) == len(load_config()["models"]) + len(alphas) + len(steps)


@pytest.mark.parametrize("name", ["paper-iwslt4", "paper-wmt", "paper-sweeps", "paper-general"])
def test_prompts_and_demonstrations_are_the_published_ones(name):
    config = expanded(name)
    for entry in config["experiments"]:
        base_model = config["base_models"][entry["base_model"]]
        assert base_model["template"] == "alpaca" and base_model.get("preamble", True)
        assert config["benchmarks"][entry["benchmark"]]["demonstration_choice"] == "first"
        for system in map(config["systems"].get, entry["systems"]):
            assert system.get("shots_layout") == ("each" if system.get("shots") else None)

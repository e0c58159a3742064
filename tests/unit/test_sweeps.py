"""Sweeps: one row of the config for several models, their systems, and the points of a study."""

import copy
import re
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.configs import load_config, overlay
from workflow_scripts.lat.config import check_config, command_line_config
from workflow_scripts.lat.config.sweeps import expand_sweeps, value_name
from workflow_scripts.lat.files import InputError

ALPHAS = """
models:
  lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [0.10, 0.02, 1.0]}}
add_systems: ["LAT-{alpha}"]
"""
GRID = """
models:
  lat-{alpha}-{steps}: {stage: unlikelihood, from: mt, lora_rank: 4, sweep: {alpha: [0.1, 0.3], steps: [50, 80]}}
add_systems: ["LAT-{alpha}-{steps}"]
"""


def expanded(*texts):
    """The default config with overlays, after its sweeps are expanded."""
    config = load_config()
    for text in texts:
        overlay(text)(config)
    expand_sweeps(config)
    return config


def message_of(*texts):
    """The message about the default config with overlays."""
    config = load_config()
    for text in texts:
        overlay(text)(config)
    with pytest.raises(InputError) as caught:
        check_config(config, ROOT)
    message = str(caught.value)
    assert message.startswith("config: ") and "\n" not in message
    return message.removeprefix("config: ")


def added(config, section):
    """The entries of a section that the default config does not have."""
    default = load_config()[section]
    return {name: entry for name, entry in config[section].items() if name not in default}


def test_one_row_makes_models_systems_and_a_study():
    config = expanded(ALPHAS)
    models = added(config, "models")
    assert list(models.items()) == [
        ("lat-0.1", {"stage": "unlikelihood", "from": "mt", "alpha": 0.1}),
        ("lat-0.02", {"stage": "unlikelihood", "from": "mt", "alpha": 0.02}),
        ("lat-1", {"stage": "unlikelihood", "from": "mt", "alpha": 1.0}),
    ]
    systems = added(config, "systems")
    assert systems == {
        "LAT-0.1": {"model": "lat-0.1"}, "LAT-0.02": {"model": "lat-0.02"}, "LAT-1": {"model": "lat-1"}
    }  # fmt: skip
    assert config["add_systems"] == list(systems) == ["LAT-0.1", "LAT-0.02", "LAT-1"]
    points = {0.1: "LAT-0.1", 0.02: "LAT-0.02", 1: "LAT-1"}
    assert config["studies"] == {"lat-alpha": {"label": "alpha", "series": {"LAT-alpha": points}}}
    # The points become flags of a script, as the text that users would write.
    assert [str(point) for point in config["studies"]["lat-alpha"]["series"]["LAT-alpha"]] == ["0.1", "0.02", "1"]


def test_models_stand_in_the_place_of_their_row():
    config = load_config()
    config["models"] = {"lat-{alpha}": {"stage": "unlikelihood", "from": "mt", "sweep": {"alpha": [1, 2]}}} | config[
        "models"
    ]
    config["add_systems"] = ["LAT-{alpha}"]
    expand_sweeps(config)
    assert list(config["models"]) == ["lat-1", "lat-2", "mt", "mt-postins", "lat", "mt-continued", "lat-postins"]


@pytest.mark.parametrize("text", ["seeds: [1]", ALPHAS, GRID])
def test_the_expanded_config_is_valid_and_a_second_check_changes_nothing(text):
    config = load_config()
    overlay(text)(config)
    check_config(config, ROOT)
    assert "sweep:" not in yaml.safe_dump(config) and "{a" not in yaml.safe_dump(config)
    once = copy.deepcopy(config)
    check_config(config, ROOT)
    assert config == once and str(config) == str(once)


def test_a_config_without_sweeps_is_not_changed():
    config = load_config()
    expand_sweeps(config)
    assert config == load_config()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.1, "0.1"), (1.0, "1"), (12, "12"), (2.0e-6, "2e-6"), (1.5e-5, "1.5e-5"), (0.0001, "0.0001"),
        (1.0e3, "1000"), (1e22, "1e22"), (0.0, "0"), (-0.5, "-0.5"), (True, "true"), ("after", "after"),
    ],
)  # fmt: skip
def test_values_in_names(value, name):
    assert value_name(value) == name


def test_several_settings_make_a_grid():
    config = expanded(GRID)
    models = added(config, "models")
    assert [(row["alpha"], row["steps"]) for row in models.values()] == [(0.1, 50), (0.1, 80), (0.3, 50), (0.3, 80)]
    assert list(models) == ["lat-0.1-50", "lat-0.1-80", "lat-0.3-50", "lat-0.3-80"]
    assert all(row["lora_rank"] == 4 and "sweep" not in row for row in models.values())
    assert config["add_systems"] == ["LAT-0.1-50", "LAT-0.1-80", "LAT-0.3-50", "LAT-0.3-80"]
    # Which setting is the horizontal axis is not obvious.
    assert config["studies"] == {}


def test_snapshots_have_sweeps():
    config = load_config()
    overlay(
        """
        models: {"lat-{step}-steps": {stage: snapshot, from: lat, sweep: {step: [20, 40]}}}
        add_systems: ["LAT-{step}-steps"]
        """
    )(config)
    check_config(config, ROOT)
    assert added(config, "models") == {
        "lat-20-steps": {"stage": "snapshot", "from": "lat", "step": 20},
        "lat-40-steps": {"stage": "snapshot", "from": "lat", "step": 40},
    }
    assert config["experiments"][0]["systems"][-2:] == ["LAT-20-steps", "LAT-40-steps"]
    points = {20: "LAT-20-steps", 40: "LAT-40-steps"}
    assert config["studies"] == {"lat-step-steps": {"label": "step", "series": {"LAT-step-steps": points}}}


def test_settings_with_text_and_small_numbers():
    config = load_config()
    overlay(
        """
        models:
          mt-{instruction}: {stage: finetune, sweep: {instruction: [before, after]}}
          mt-{learning_rate}: {stage: finetune, sweep: {learning_rate: [2.0e-6, 1.0e-3]}}
          mt-{freeze_embeddings}: {stage: finetune, sweep: {freeze_embeddings: [true, false]}}
        add_systems: ["MT-{instruction}", "MT-{learning_rate}", "MT-{freeze_embeddings}"]
        """
    )(config)
    check_config(config, ROOT)
    assert list(added(config, "models")) == ["mt-before", "mt-after", "mt-2e-6", "mt-0.001", "mt-true", "mt-false"]
    # Only numbers have a place on the horizontal axis.
    assert list(config["studies"]) == ["mt-learning_rate"]
    assert config["studies"]["mt-learning_rate"]["label"] == "learning rate"


def test_rows_of_systems_replace_the_automatic_ones():
    config = expanded(
        ALPHAS,
        """
        systems:
          Alpha-{alpha}: {model: "lat-{alpha}"}
          Alpha-{alpha}+1: {model: "lat-{alpha}", shots: 1}
        add_systems: ["Alpha-{alpha}+1"]
        """,
    )
    systems = added(config, "systems")
    assert list(systems) == ["Alpha-0.1", "Alpha-0.02", "Alpha-1", "Alpha-0.1+1", "Alpha-0.02+1", "Alpha-1+1"]
    assert systems["Alpha-0.02+1"] == {"model": "lat-0.02", "shots": 1}
    assert config["add_systems"] == ["Alpha-0.1+1", "Alpha-0.02+1", "Alpha-1+1"]
    points = {0.1: "Alpha-0.1+1", 0.02: "Alpha-0.02+1", 1: "Alpha-1+1"}
    assert config["studies"]["lat-alpha"]["series"] == {"Alpha-alpha+1": points}


def test_systems_of_a_sweep_in_the_list_of_an_experiment():
    config = load_config()
    shared = ["MT", "LAT-{alpha}", "LAT"]
    config["experiments"] = [
        {"base_model": "tiny", "benchmark": "demo", "systems": ["MT"]},
        {"base_model": "llama2-7b", "benchmark": "iwslt4", "systems": shared},
        {"base_model": "llama3-8b", "benchmark": "iwslt4", "systems": shared},
    ]
    overlay(ALPHAS + "\nstudies: {}")(config)
    config["add_systems"] = []
    expand_sweeps(config)
    systems = [entry["systems"] for entry in config["experiments"]]
    assert systems == [["MT"], *2 * [["MT", "LAT-0.1", "LAT-0.02", "LAT-1", "LAT"]]]
    # The study shows the first experiment that has these systems.
    assert config["studies"]["lat-alpha"]["series"]["LAT-alpha"] == {
        0.1: "llama2-7b/iwslt4/LAT-0.1", 0.02: "llama2-7b/iwslt4/LAT-0.02", 1: "llama2-7b/iwslt4/LAT-1"
    }  # fmt: skip


def test_points_of_a_sweep_beside_others():
    config = expanded(
        ALPHAS, 'studies: {alpha: {label: x, series: {LAT: {0: MT, "{alpha}": "LAT-{alpha}", 0.05: LAT}}}}'
    )
    points = {0: "MT", 0.02: "LAT-0.02", 0.05: "LAT", 0.1: "LAT-0.1", 1: "LAT-1"}
    assert config["studies"] == {"alpha": {"label": "x", "series": {"LAT": points}}}


def test_points_of_another_experiment():
    points = '{"{alpha}": "llama2-7b/iwslt4/LAT-{alpha}"}'
    config = expanded(ALPHAS, f"studies: {{alpha: {{label: x, series: {{LAT: {points}}}}}}}")
    assert config["studies"]["alpha"]["series"]["LAT"][0.02] == "llama2-7b/iwslt4/LAT-0.02"
    assert list(config["studies"]) == ["alpha"]


def test_a_study_of_single_points_replaces_the_automatic_one():
    config = expanded(ALPHAS, "studies: {alpha: {label: x, series: {LAT: {0.1: LAT-0.1}}}}")
    assert config["studies"] == {"alpha": {"label": "x", "series": {"LAT": {0.1: "LAT-0.1"}}}}


def test_a_grid_has_one_series_for_each_value_of_the_other_setting():
    config = expanded(
        GRID, 'studies: {grid: {label: x, series: {"{steps} steps": {0: MT, "{alpha}": "LAT-{alpha}-{steps}"}}}}'
    )
    assert config["studies"]["grid"]["series"] == {
        "50 steps": {0: "MT", 0.1: "LAT-0.1-50", 0.3: "LAT-0.3-50"},
        "80 steps": {0: "MT", 0.1: "LAT-0.1-80", 0.3: "LAT-0.3-80"},
    }
    other = expanded(
        GRID, 'studies: {grid: {label: x, series: {"α={alpha}": {"{steps}": "LAT-{alpha}-{steps}"}, MT: {0: MT}}}}'
    )
    assert other["studies"]["grid"]["series"] == {
        "α=0.1": {50: "LAT-0.1-50", 80: "LAT-0.1-80"},
        "α=0.3": {50: "LAT-0.3-50", 80: "LAT-0.3-80"},
        "MT": {0: "MT"},
    }


def test_an_overlay_replaces_the_values():
    config = expanded(ALPHAS, "models: {'lat-{alpha}': {sweep: {alpha: [0.7]}}}")
    assert list(added(config, "models")) == ["lat-0.7"]
    assert config["add_systems"] == ["LAT-0.7"]


def test_sweeps_on_the_command_line():
    """Snakemake reads the numbers as text, and the workflow reads them again."""
    arguments = [
        'models={"lat-{alpha}": {stage: unlikelihood, from: mt, sweep: {alpha: [0.1, 0.30]}}}',
        'add_systems=["LAT-{alpha}"]',
        'studies={a: {label: x, series: {LAT: {0: MT, "{alpha}": "LAT-{alpha}"}}}}',
    ]
    program = "import json, sys; from snakemake.cli import parse_config; print(json.dumps(parse_config(sys.argv[1:])))"
    command = [sys.executable, "-c", program, *arguments]
    read = yaml.safe_load(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert read["models"]["lat-{alpha}"]["sweep"] == {"alpha": ["0.1", "0.30"]}
    config = load_config()
    for values in (read, command_line_config(arguments)):
        overlay(yaml.safe_dump(values))(config)
    check_config(config, ROOT)
    assert [row["alpha"] for row in added(config, "models").values()] == [0.1, 0.3]
    assert config["studies"]["a"]["series"]["LAT"] == {0: "MT", 0.1: "LAT-0.1", 0.3: "LAT-0.3"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt}",
            "models.lat-{alpha} has the placeholder {alpha}, but no `sweep`; add `sweep: {alpha: [...]}`",
        ),
        ("lat-{alpha}:", "models.lat-{alpha} has the placeholder {alpha}, but no `sweep`"),
        ("lat-{alpha}: {from: mt, sweep: {alpha: [1]}}", "models.lat-{alpha} lacks the key `stage`; add it"),
        (
            "lat-{alpha}: {stage: unlikelyhood, from: mt, sweep: {alpha: [1]}}",
            "models.lat-{alpha}.stage: `unlikelyhood` is not among the stages; did you mean `unlikelihood`?",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alhpa: [1]}}",
            "models.lat-{alpha}.sweep: `alhpa` is not among the settings of the stage unlikelihood; did you mean"
            " `alpha`?",
        ),
        (
            "lat-{epochs}: {stage: unlikelihood, from: mt, sweep: {epochs: [1]}}",
            "models.lat-{epochs}.sweep: `epochs` is not among the settings of the stage unlikelihood",
        ),
        (
            "lat-{steps}: {stage: snapshot, from: lat, sweep: {steps: [1]}}",
            "models.lat-{steps}.sweep: `steps` is not among the settings of the stage snapshot; did you mean `step`?",
        ),
        (
            "lat-{from}: {stage: unlikelihood, sweep: {from: [mt, mt-postins]}}",
            "models.lat-{from}.sweep: `from` is no setting with single values; write one row per model",
        ),
        (
            "mt-{mix}: {stage: finetune, sweep: {mix: [alpaca]}}",
            "models.mt-{mix}.sweep: `mix` is no setting with single values; write one row per model",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: []}}",
            "models.lat-{alpha}.sweep.alpha is empty; add a value",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {}}",
            "models.lat-{alpha}.sweep needs a list of values for each setting, such as {alpha: [0.1, 0.3]}",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: 0.1}}",
            "models.lat-{alpha}.sweep.alpha is not a list; write the values in brackets",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [0.1, 0.2, 0.10]}}",
            "models.lat-{alpha}.sweep.alpha: the entries 0 and 2 are the same value, 0.1; keep one",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [1, 1.0]}}",
            "models.lat-{alpha}.sweep.alpha: the entries 0 and 1 are the same value, 1; keep one",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [[0.1]]}}",
            "models.lat-{alpha}.sweep.alpha.0 is not a single value",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [0.1, ~]}}",
            "models.lat-{alpha}.sweep.alpha.1 is not a single value",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, alpha: 0.2, sweep: {alpha: [0.1]}}",
            "models.lat-{alpha} has `alpha` itself and in its `sweep`; keep one",
        ),
        (
            "latter: {stage: unlikelihood, from: mt, sweep: {alpha: [0.1]}}",
            "models.latter: its models differ in alpha, but not in their names; write the placeholder {alpha} into the"
            " name, such as `latter-{alpha}`",
        ),
        (
            "lat-{alpha}-{steps}: {stage: unlikelihood, from: mt, sweep: {alpha: [0.1]}}",
            "models.lat-{alpha}-{steps}: `sweep` has no values for the placeholder {steps}; add `steps: [...]` to it",
        ),
        ("lat-{}: {stage: unlikelihood, from: mt, sweep: {alpha: [1]}}", "models.lat-{}: its models differ in alpha"),
        (
            "lat-{steps}{batch_size}: {stage: unlikelihood, from: mt, sweep: {steps: [1, 11], batch_size: [1, 11]}}",
            "models.lat-{steps}{batch_size}: two combinations of values have the name lat-111; separate",
        ),
        (
            "lat-{step}: {stage: snapshot, from: lat, sweep: {step: [5, 20]}}\n"
            "lat-20: {stage: snapshot, from: lat, step: 20}",
            "models.lat-{step}: its model lat-20 is also that of models.lat-20; rename one",
        ),
        (
            "lat-{step}: {stage: snapshot, from: lat, sweep: {step: [5]}}\n"
            "lat-{steps}: {stage: unlikelihood, from: mt, sweep: {steps: [5]}}",
            "models.lat-{steps}: its model lat-5 is also that of models.lat-{step}; rename one",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [1]}}\n"
            "lat-20: {stage: snapshot, from: 'lat-{alpha}', step: 20}",
            "models.lat-20.from: `lat-{alpha}` is a sweep; name one of its models, such as lat-1",
        ),
        (
            "lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [1]}}",
            "models.lat-{alpha}: no experiment has its systems; add `LAT-{alpha}` to `add_systems`, or to the systems"
            " of an experiment",
        ),
        ("lat-{alpha: {stage: unlikelihood, from: mt}", "models: the name `lat-{alpha` has a brace"),
        ('"lat\\n{alpha}": {stage: unlikelihood, from: mt}', "models.lat?{alpha} has the placeholder {alpha}"),
    ],
)
def test_malformed_sweeps(row, message):
    lines = "\n".join(f"  {line}" for line in row.split("\n"))
    assert message_of(f"models:\n{lines}").startswith(message)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("[0.1, 0, -1]", "models.lat--1.alpha: -1 is less than the minimum of 0"),
        ("['0.1']", "models.lat-0.1.alpha: `0.1` is text; write 0.1 without quotes"),
        ("[1e-5]", "models.lat-1e-5.alpha: YAML reads 1e-5 as text; write it with a point and a sign: 1.0e-5"),
        ("[true]", "models.lat-true.alpha: true is not a number"),
        ("[.nan]", "models.lat-nan.alpha: nan is not a finite number; write one"),
        ("['0,05']", "models.lat-{alpha}.sweep.alpha.0: the text `0,05` cannot be part of a name; write a number with"),
        ("['']", "models.lat-{alpha}.sweep.alpha.0: the text `` cannot be part of a name"),
        ('["1\\n"]', "models.lat-{alpha}.sweep.alpha.0: the text `1?` cannot be part of a name"),
    ],
)
def test_values_that_the_setting_cannot_have(values, message):
    assert message_of(ALPHAS, f"models: {{'lat-{{alpha}}': {{sweep: {{alpha: {values}}}}}}}").startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "systems: {LAT-0.02: {model: lat}}",
            "models.lat-{alpha}: its system `LAT-0.02` is also that of systems.LAT-0.02; add a row of `systems` with"
            " another name for the sweep",
        ),
        (
            "{systems: {'X{alpha}': {model: 'lat-{alpha}'}, X1: {model: lat}}, add_systems: ['X{alpha}']}",
            "systems.X{alpha}: its system `X1` is also that of systems.X1; rename one",
        ),
        (
            "models: {'LAT-{alpha}': {stage: unlikelihood, from: mt, sweep: {alpha: [7]}}}",
            "models.LAT-{alpha}: its system `LAT-{alpha}` is also that of systems.LAT-{alpha}; add a row of `systems`",
        ),
        (
            "systems: {X: {model: 'lat-{alpha}'}}",
            "systems.X: the name of systems that use the sweep `lat-{alpha}` needs its placeholders {alpha}, and no"
            " others, such as `LAT-{alpha}`",
        ),
        (
            "systems: {'X-{alpha}-{steps}': {model: 'lat-{alpha}'}}",
            "systems.X-{alpha}-{steps}: the name of systems that use the sweep `lat-{alpha}` needs",
        ),
        (
            "systems: {'X-{alpha}': {model: mt}}",
            "systems.X-{alpha} has the placeholder {alpha}, but its model is no sweep; name a sweep of `models`",
        ),
        ("systems: {'X-{alpha}': {shots: 1}}", "systems.X-{alpha} has the placeholder {alpha}, but it has no model"),
        (
            "systems: {'X-{alpha}': {model: 'lat-{alhpa}'}}",
            "systems.X-{alpha}.model: `lat-{alhpa}` is not among the sweeps of models; did you mean `lat-{alpha}`?",
        ),
        (
            "add_systems: ['LAT-{alpa}']",
            "add_systems: `LAT-{alpa}` is not among the sweeps of systems; did you mean `LAT-{alpha}`?",
        ),
        (
            "experiments: [{base_model: tiny, benchmark: demo, systems: [MT, 'lat-{alpha}']}]",
            "experiments.0.systems: `lat-{alpha}` is not among the sweeps of systems; did you mean `LAT-{alpha}`?",
        ),
        ("add_systems: ['LAT-{alpha}', LAT-0.1]", "add_systems: `LAT-0.1` occurs twice; keep one"),
        (
            "judge: {comparisons: [{system: 'LAT-{alpha}', baseline: MT}]}",
            "judge.comparisons.0.system: the text has a brace",
        ),
        (
            "studies: {s: {label: x, series: {LAT: {0.1: 'LAT-{alpha}'}}}}",
            "studies.s.series.LAT.0.1: the points of the sweep `LAT-{alpha}` are the values of a setting; write"
            ' `"{alpha}": LAT-{alpha}`',
        ),
        (
            "studies: {s: {label: x, series: {LAT: {'{steps}': 'LAT-{alpha}'}}}}",
            "studies.s.series.LAT.{steps}: the points of the sweep `LAT-{alpha}` are the values of a setting",
        ),
        (
            "studies: {s: {label: x, series: {LAT: {'{alpha}': 'LAT-{alpa}'}}}}",
            "studies.s.series.LAT.{alpha}: `LAT-{alpa}` is not among the sweeps of systems; did you mean",
        ),
        (
            "studies: {s: {label: x, series: {LAT: {'{alpha}': LAT}}}}",
            "studies.s.series.LAT: the point `{alpha}` is not a number; write one such as 0.05",
        ),
        (
            "studies: {s: {label: x, series: {LAT: {'{alpha}': 'LAT-{alpha}', 0.02: LAT}}}}",
            "studies.s.series.LAT: two systems, LAT-0.02 and LAT, for the point 0.02; keep one",
        ),
        (
            "studies: {s: {label: x, series: {LAT: {'{alpha}': 'LAT-{alpha}', '0.02': LAT}}}}",
            "studies.s.series.LAT: two systems, LAT-0.02 and LAT, for the point 0.02; keep one",
        ),
        (
            "studies: {s: {label: x, series: {'LAT {alpha}': {'{alpha}': 'LAT-{alpha}'}}}}",
            "studies.s.series.LAT {alpha}.{alpha}: the name of the series has the placeholder {alpha}; remove it",
        ),
        (
            "studies: {s: {label: x, series: {'LAT {alpha}': {0: MT}}}}",
            "studies.s.series: the name `LAT {alpha}` has a brace",
        ),
        (
            "studies: {lat-alpha: {label: x, series: {MT: {0: MT}}}}",
            "studies.lat-alpha has the name of the study of models.lat-{alpha}; rename it, or add the points"
            ' `"{alpha}": LAT-{alpha}` to it',
        ),
    ],
)
def test_malformed_uses(text, message):
    assert message_of(ALPHAS, text).startswith(message)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (
            "{LAT: {'{alpha}': 'LAT-{alpha}-{steps}'}}",
            "studies.s.series.LAT.{alpha}: each value of {steps} needs a series of its own; write this placeholder into"
            " the name of the series, such as `LAT {steps}`",
        ),
        (
            "{'{steps}': {'{alpha}': 'LAT-{alpha}-{steps}'}, '80': {0: MT}}",
            "studies.s.series: two series have the name 80; rename one",
        ),
    ],
)
def test_malformed_series_of_grids(series, message):
    assert message_of(GRID, f"studies: {{s: {{label: x, series: {series}}}}}").startswith(message)


def test_text_is_no_point():
    text = """
    models: {"lat-{conflicts}": {stage: unlikelihood, from: mt, sweep: {conflicts: [instruction, target]}}}
    add_systems: ["LAT-{conflicts}"]
    studies: {s: {label: x, series: {LAT: {"{conflicts}": "LAT-{conflicts}"}}}}
    """
    message = "studies.s.series.LAT.{conflicts}: not all values of `conflicts` are numbers"
    assert message_of(text).startswith(message)


def test_a_sweep_whose_models_are_trained_further_needs_no_experiment():
    config = expanded(
        """
        models:
          mt-{epochs}: {stage: finetune, sweep: {epochs: [1, 2]}}
          lat-2: {stage: unlikelihood, from: mt-2}
        """
    )
    assert list(added(config, "models")) == ["mt-1", "mt-2", "lat-2"]
    assert config["studies"] == {}


def test_the_examples_of_the_documentation_are_valid():
    section = (ROOT / "docs" / "training.md").read_text(encoding="utf-8").partition("\n## Sweeps\n")[2]
    alphas, weights, steps, grid = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    studies = []
    for texts in ([alphas], [alphas, weights], [steps], [grid]):
        config = load_config()
        for text in texts:
            overlay(text)(config)
        check_config(config, ROOT)
        studies.append({name: list(study["series"]) for name, study in config["studies"].items()})
    assert studies == [
        {"lat-alpha": ["LAT-alpha"]},
        {"alpha": ["LAT"]},
        {"lat-step-steps": ["LAT-step-steps"]},
        {"grid": ["50 steps", "80 steps"]},
    ]


@pytest.mark.parametrize("text", ["models: 5", "systems:", "models: {5: {sweep: {a: [1]}}}", "experiments: 5"])
def test_wrong_types_are_left_to_the_schema(text):
    assert "brace" not in message_of(text)


def test_an_experiment_without_systems_is_reported_itself():
    text = "experiments: [{base_model: tiny, benchmark: demo}]\nadd_systems: []"
    assert message_of(ALPHAS, text) == "experiments.0 lacks the key `systems`; add it"

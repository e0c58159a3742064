"""A run with another config than the last one must not replace its results."""

import pytest

from workflow_scripts.lat.config.previous import check_replaced, config_of_run, known_configs, remember_config
from workflow_scripts.lat.files import InputError


def test_the_config_of_a_run_is_what_the_user_chose(tmp_path):
    defaults = tmp_path / "config.yaml"
    defaults.touch()
    folder = tmp_path / "run"
    chosen = config_of_run(
        [defaults, str(folder / "overlays" / "b.yaml"), folder / "a.yaml", tmp_path / "c.yaml"],
        ["seeds=[1]", "replace=true", "publish={model: lat}", "decode={beam: 1}"],
        defaults,
        folder,
    )
    # The order of files matters, since later ones override earlier ones; that of values does not. Files of the folder
    # have the same name after the folder was moved.
    assert chosen == ["overlays/b.yaml", "a.yaml", f"{tmp_path.resolve()}/c.yaml", "decode={beam: 1}", "seeds=[1]"]


def test_the_configs_of_the_results_are_remembered(tmp_path):
    record = tmp_path / ".snakemake" / "record.json"
    assert known_configs(record) == []
    remember_config(["ü.yaml"], record, replaces=False)
    remember_config(["b.yaml"], record, replaces=False)
    remember_config(["ü.yaml"], record, replaces=False)
    assert known_configs(record) == [["b.yaml"], ["ü.yaml"]]
    remember_config(["ü.yaml"], record, replaces=True)
    assert known_configs(record) == [["ü.yaml"]]
    for damaged in ("", "[1]", '{"a": 1}', "[[1]]"):
        record.write_text(damaged)
        assert known_configs(record) == []


@pytest.mark.parametrize(
    ("known", "replaced", "stops"),
    [
        ([["a.yaml"]], {"decode": 2, "detect": 2}, True),
        ([["a.yaml"], ["b.yaml"]], {"decode": 2, "detect": 2}, True),
        ([[]], {"decode": 2, "detect": 2}, True),
        ([["b.yaml"]], {"decode": 2}, False),  # the same config, edited
        ([], {"decode": 2}, False),
        ([["a.yaml"]], {}, False),
    ],
)
def test_only_a_run_that_replaces_results_of_another_config_stops(known, replaced, stops):
    if not stops:
        check_replaced(["b.yaml"], known, replaced)
        return
    with pytest.raises(InputError, match=r"\(jobs: decode 2, detect 2\); keep them by `--directory` with another"):
        check_replaced(["b.yaml"], known, replaced)

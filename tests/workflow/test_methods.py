"""The methods of stage 2 from end to end: Post-ins, conflicts by confusion, preference losses with both rejections."""

import csv
import io

import pytest

from tests.workflow.conftest import Run
from workflow_scripts.lat.files import read_jsonl, read_table

# On the smoke model, whose outputs are short and often without words, few of them are off target.
OVERLAY = {
    "seeds": [1],
    "models": {
        "lat-confusion": {"stage": "unlikelihood", "from": "mt", "conflicts": "confusion"},
        "orpo": {"stage": "preference", "from": "mt", "loss": "orpo"},
        "orpo-control": {"stage": "preference", "from": "mt", "loss": "orpo", "weight": 0},
        "dpo": {"stage": "preference", "from": "mt", "loss": "dpo", "rejected": "model"},
        "cpo": {"stage": "preference", "from": "mt-postins", "loss": "cpo"},
        "cpo-2": {"stage": "snapshot", "from": "cpo", "step": 2},
        "mt-2": {"stage": "snapshot", "from": "mt", "step": 2},
    },
    "systems": {
        "LAT-confusion": {"model": "lat-confusion"},
        "ORPO": {"model": "orpo"},
        "ORPO-control": {"model": "orpo-control"},
        "DPO": {"model": "dpo"},
        "CPO": {"model": "cpo"},
        "CPO-2": {"model": "cpo-2"},
        "MT-2": {"model": "mt-2"},
        "Boost": {"model": "mt", "language_boost": 1.5},
    },
    "preference": {"min_pairs": 1},
    "experiments": [
        {
            "base_model": "tiny",
            "benchmark": "demo",
            "systems": ["MT", "MT-continued", "LAT", "LAT+Post-ins", "LAT-confusion", "ORPO", "ORPO-control", "DPO",
                        "CPO", "CPO-2", "MT-2", "Boost"],
        }
    ],
}  # fmt: skip
STAGE2 = "tiny/demo/seed1"


@pytest.fixture(scope="module")
def methods(tmp_path_factory) -> Run:
    run = Run(tmp_path_factory.mktemp("methods"))
    run.snakemake("--cores", "2", overlay=OVERLAY)
    return run


def table(run: Run, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(run.text(path)), delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_method_has_scores_and_is_finished(methods):
    systems = OVERLAY["experiments"][0]["systems"]
    found = {row["system"] for row in table(methods, "tables/summary.tsv")}
    assert found == set(systems)
    assert methods.planned(OVERLAY) == {}


def test_a_language_boost_changes_outputs_with_the_samples_of_its_seed(methods):
    outputs = {system: methods.text(f"decode/{STAGE2}/{system}/it-nl.txt") for system in ("MT", "Boost")}
    assert outputs["MT"] != outputs["Boost"]
    changed = OVERLAY | {"systems": OVERLAY["systems"] | {"Boost": {"model": "mt", "language_boost": 2}}}
    planned = methods.planned(changed | {"replace": True})
    assert planned["decode"] == planned["detect"] == 1 and "finetune" not in planned


def test_conflicts_on_post_ins_have_the_instruction_after_the_input(methods):
    rows = read_jsonl(methods.folder / "results/conflicts" / STAGE2 / "lat-postins.jsonl")
    for row in rows:
        for prompt in (row["prompt"], row["conflict"]):
            assert prompt.index(row["source"]) < prompt.index("### Instruction")
        assert row["conflict_direction"] != row["direction"]


def test_conflicts_by_confusion_are_wrong_and_come_from_the_outputs(methods):
    rows = read_jsonl(methods.folder / "results/conflicts" / STAGE2 / "lat-confusion.jsonl")
    assert len(rows) == 600
    for row in rows:
        source, target = row["direction"].split("-")
        drawn_source, drawn = row["conflict_direction"].split("-")
        assert drawn_source == source and drawn not in (source, target)
    # These jobs are no part of the job of Slurm that the training of stage 1 waits for, see profiles/slurm.
    done = methods.snakemake("--dry-run", "--printshellcmds", "--forcerun", "conflicts_by_confusion", overlay=OVERLAY)
    assert f"--off-targets results/off_targets/{STAGE2}/mt/lines.jsonl" in done.stdout


def test_rejected_responses_belong_to_their_samples(methods):
    folder = methods.folder / "results"
    references = read_jsonl(folder / "rejections" / STAGE2 / "orpo.jsonl")
    assert len(references) == 600 and all(row["rejected_language"] not in row["direction"] for row in references)
    outputs = {row["output"] for row in read_jsonl(folder / "off_targets" / STAGE2 / "mt/lines.jsonl")}
    rows = read_jsonl(folder / "rejections" / STAGE2 / "dpo.jsonl")
    assert rows and all(row["rejected"] in outputs for row in rows)
    assert all(row["rejected_language"] != row["direction"].split("-")[1] for row in rows)


def test_step_logs_have_the_losses_of_their_methods(methods):
    logs = {name: table(methods, f"preference/{STAGE2}/{name}/steps.tsv") for name in ("orpo", "orpo-control", "dpo")}
    assert all(len(log) == 4 for log in logs.values())
    first = logs["orpo"][0]
    assert float(first["loss"]) == pytest.approx(
        float(first["likelihood_loss"]) + 0.1 * float(first["preference_loss"]), abs=1e-5
    )
    # The control sees the same samples.
    assert logs["orpo-control"][0]["likelihood_loss"] == first["likelihood_loss"]
    assert logs["orpo-control"][0]["loss"] == first["likelihood_loss"]
    # Before the first step, DPO has no preference.
    assert float(logs["dpo"][0]["preference_loss"]) == pytest.approx(0.6931, abs=1e-3)
    reference = read_table(methods.folder / "results/preference" / STAGE2 / "dpo/model/reference.tsv")
    assert reference and all(float(row["chosen"]) < 0 for row in reference)


def test_the_tables_give_the_effect_of_each_loss(methods):
    text = methods.text("tables/zero_shot.md")
    assert "Effect of the unlikelihood loss: LAT minus MT-continued" in text
    assert "Effect of the unlikelihood loss: LAT-confusion minus MT-continued" in text
    assert "Effect of the preference loss: ORPO minus ORPO-control" in text
    # Another stage-1 model, or no control with the same rejected responses.
    assert not any(f": {system} minus" in text for system in ("LAT+Post-ins", "CPO", "DPO"))


def test_too_few_pairs_end_the_run_with_one_line_before_the_training(methods):
    done = methods.snakemake(
        "--cores", "1", "results/rejections/tiny/demo/seed1/dpo.jsonl", "--config", "replace=true",
        overlay=OVERLAY | {"preference": {"min_pairs": 700}}, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "fewer than preference.min_pairs, 700: " in done.stdout + done.stderr

"""General tasks, from instructions to the table of wins, ties and losses, with a local server as the judge."""

import json
import shutil

import pytest

from tests.unit.test_judging import KEY, Server, server  # noqa: F401, a fixture
from tests.workflow.conftest import Run

AFTER_THE_ANSWERS = {"judge": 1, "tables": 1, "figures": 1, "page": 1}


@pytest.fixture
def general(finished, tmp_path, server):  # noqa: F811
    """A finished run, and the config overlay that adds general tasks."""
    run = Run(tmp_path / "run")
    shutil.copytree(finished.folder, run.folder, symlinks=True)
    alpaca = [{"instruction": f"Count to {number}.", "input": "", "output": f"1 to {number}"} for number in range(40)]
    (tmp_path / "alpaca.json").write_text(json.dumps(alpaca))
    asked = [{"instruction": "Name a bird."}, {"instruction": "Translate into Dutch.", "input": "a bird"}]
    (tmp_path / "birds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return run, {
        "experiments": [{"base_model": "tiny", "benchmark": "demo", "systems": ["MT+Alpaca", "LAT+Alpaca"]}],
        "models": {
            "mt-alpaca": {"stage": "finetune", "instruction": "before", "mix": [str(tmp_path / "alpaca.json")]},
            "lat-alpaca": {"stage": "unlikelihood", "from": "mt-alpaca", "conflicts": "instruction"},
        },
        "systems": {"MT+Alpaca": {"model": "mt-alpaca"}, "LAT+Alpaca": {"model": "lat-alpaca"}},
        "seeds": [1],
        "significance": {"baselines": ["MT+Alpaca"]},
        "judge": {
            "comparisons": [{"system": "LAT+Alpaca", "baseline": "MT+Alpaca"}],
            "instructions": str(tmp_path / "birds.jsonl"),
            "model": "j",
            "base_url": server.url,
            "key": "THE_KEY",
        },
    }


def test_general_tasks_from_instructions_to_the_table(general, monkeypatch):
    run, overlay = general
    done = run.snakemake("--cores", "2", overlay=overlay, check=False)
    assert done.returncode
    assert "the environment variable THE_KEY is not set" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    # The workflow stops before its first job.
    assert not (run.folder / "results/finetune/tiny/demo/seed1/mt-alpaca").exists()

    run.snakemake("--cores", "2", "--until", "answer", overlay=overlay)
    assert not Server.requests
    monkeypatch.setenv("THE_KEY", KEY)
    # Two models that were trained for a few steps may give equal answers, which are ties without asking the judge. This
    # judge always prefers the first answer, so that different answers are ties as well.
    Server.reply = staticmethod(lambda text: "A")
    run.snakemake("--cores", "2", overlay=overlay)
    samples = [json.loads(line) for line in run.text("prompts/tiny/demo/seed1/mt-alpaca.jsonl").splitlines()]
    assert sum("instruction" in sample for sample in samples) == 40 < len(samples)
    conflicts = [json.loads(line) for line in run.text("conflicts/tiny/demo/seed1/lat-alpaca.jsonl").splitlines()]
    assert len(conflicts) == len(samples)
    answers = run.text("decode/tiny/demo/seed1/answers/LAT+Alpaca/answers.jsonl").splitlines()
    assert [list(json.loads(line)) for line in answers] == [["answer"], ["answer"]]
    header, row = run.text("tables/general.tsv").splitlines()
    values = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert values["system"] == "LAT+Alpaca" and values["baseline"] == "MT+Alpaca" and values["instructions"] == "birds"
    assert (values["win"], values["tie"], values["lose"], values["n"]) == ("0", "2", "0", "2")
    assert "birds, judged by j in both orders" in run.text("tables/general.md")
    assert "| LAT+Alpaca | MT+Alpaca | 0.0 | 100.0 | 0.0 | 2 | 1.000 |" in run.text("tables/general.md")
    assert "General tasks" in run.text("page/index.html")
    for path in run.folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert KEY.encode() not in path.read_bytes(), path

    assert run.planned(overlay) == {}
    assert run.planned(overlay | {"judge": overlay["judge"] | {"model": "another"}}) == AFTER_THE_ANSWERS

"""The line that a person sees while a run lasts, and what is printed at its end."""

import json
import re
from pathlib import Path

import pytest

from workflow_scripts.lat import progress

OUTPUT = """\
Job stats:
[Fri Nov 27 01:37:48 2026]
Job 6: Stage 1: training mt from tiny on demo (seed1)
Reason: Missing output files: results/finetune
Finished jobid: 5 (Rule: train_prompts)
1 of 4 steps (25%) done
Job 7: Detect: identifying output languages of Base (tiny, demo, shared)
01:41:35 600 samples, 37 steps
01:42:45 10/40 steps, 0.1/s, 300 s left, loss 2.514 + 0 * 0.000, 24 tokens/s
"""


def read(text):
    state = progress.RunState(now=100.0)
    state.seconds = {5: 10.0, 6: 40.0, 7: 3.0, 8: 7.0}
    for line in text.splitlines(keepends=True):
        state.read(line)
    return state


def test_the_line_says_what_runs_and_how_long_it_takes():
    state = read(OUTPUT)
    assert (state.total, state.finished) == (4, {5})
    # Done are 10 s and a quarter of 40 s, of 60 s in all; they took 100 s, and the remaining 40 s take 200 s.
    assert state.seconds_left(200.0) == pytest.approx(200.0)
    assert state.line(200.0) == (
        "step 2 of 4 · about 3 min left · Stage 1: training mt from tiny on demo (seed1) · 25% · loss 2.514"
    )


def test_both_losses_of_stage_2_are_shown():
    state = read(OUTPUT + "01:42:46 11/40 steps, 0.1/s, 300 s left, loss 1.500 + 0.05 * 2.250, 24 tokens/s\n")
    assert state.line(200.0).endswith("28% · loss 1.500 + 0.05 * 2.250")


def test_progress_without_estimates_names_the_step():
    state = progress.RunState(now=0.0)
    assert state.line(1.0) == "starting"
    for line in OUTPUT.splitlines():
        state.read(line)
    assert state.seconds_left(1.0) is None
    assert state.line(1.0).startswith("step 2 of 4 · ")


def test_a_finished_job_ends_its_progress():
    state = read(OUTPUT + "Finished jobid: 6 (Rule: finetune)\n2 of 4 steps (50%) done\n")
    assert state.line(200.0) == (
        "step 3 of 4 · about 1 min left · Detect: identifying output languages of Base (tiny, demo, shared)"
    )


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Let a small program stand for Snakemake."""
    monkeypatch.chdir(tmp_path)

    def fake(program: str) -> None:
        (tmp_path / "snakemake.py").write_text(program)

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return fake


def test_a_failed_run_names_its_errors_and_the_log(fake, capsys):
    fake(
        "import sys; print('config: decode.beam: 1.5 is no integer'); print('other')"
        "; print('12:00:00 error: disk full', file=sys.stderr); sys.exit(3)"
    )
    assert progress.run(["--cores", "1"]) == 3
    said = capsys.readouterr().out
    assert "config: decode.beam: 1.5 is no integer" in said and "error: disk full" in said and "other" not in said
    assert "All messages: results/snakemake.log" in said
    assert "other" in progress.LOG.read_text()


@pytest.mark.parametrize("words", [["--directory", "other"], ["-d", "other"], ["--directory=other"], ["--cores", "1"]])
def test_the_log_is_in_the_working_folder(fake, capsys, words):
    fake("print('12:00:00 error: disk full'); raise SystemExit(1)")
    assert progress.run(words) == 1
    log = Path("results/snakemake.log") if words[0] == "--cores" else Path("other/results/snakemake.log")
    assert "disk full" in log.read_text()
    assert f"All messages: {log}." in capsys.readouterr().out


def test_a_failed_run_without_a_known_error_says_its_status(fake, capsys):
    fake("import sys; sys.exit(2)")
    assert progress.run([]) == 2
    assert "Snakemake ended with status 2" in capsys.readouterr().out


COLUMNS = [
    *("base_model", "benchmark", "system", "supervision", "direction", "metric"),
    *("mean", "sd", "low", "high", "p", "p_corrected", "seeds"),
]


def test_the_end_shows_the_means_of_all_systems(fake, capsys):
    rows = [
        ("MT", "zero-shot", "AVG", "BLEU", "6.24"), ("MT", "zero-shot", "AVG", "OTR", "36.8"),
        ("MT", "zero-shot", "it-nl", "BLEU", "99"), ("MT", "zero-shot", "AVG", "chrF++", "98"),
        ("LAT", "zero-shot", "AVG", "BLEU", "9.76"), ("LAT", "supervised", "AVG", "BLEU", "21.6"),
    ]  # fmt: skip
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(["gemma", "demo", *row, "", "", "", "", "", "1"]) for row in rows]
    table = json.dumps("\n".join(lines) + "\n")
    fake(
        "import pathlib, sys; assert sys.argv[1:] == ['--cores', '2']; p = pathlib.Path('results/tables')"
        f"; p.mkdir(); (p / 'summary.tsv').write_text({table})"
    )
    assert progress.run(["--cores", "2"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^system +zero-shot BLEU +zero-shot OTR \(%\) +supervised BLEU", said, re.MULTILINE)
    assert re.search(r"^MT +6\.2 +36\.8 +$", said, re.MULTILINE), said
    assert re.search(r"^LAT +9\.8 +21\.6", said, re.MULTILINE), said
    assert "99" not in said and "98" not in said
    assert "results/page/index.html" in said

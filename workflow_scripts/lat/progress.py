"""Run Snakemake, and show in one line what it does: steps done, minutes left, and the loss while a model is trained.

    python -m workflow_scripts.lat.progress --cores all

The arguments are those of Snakemake, whose complete output goes to `results/snakemake.log`. At the end, the mean scores
of all systems are printed, or the errors that stopped the run. The minutes that are left follow from the times of jobs
that the workflow estimates when a run starts (`plan.py`), and from the time that the finished jobs took.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from .files import read_table

LOG = Path("results") / "snakemake.log"
SUMMARY = Path("results") / "tables" / "summary.tsv"
PAGE = Path("results") / "page" / "index.html"
# Where the workflow writes the estimated seconds of each job, by its number.
ESTIMATES = Path(".snakemake") / "job_seconds.json"

STARTED = re.compile(r"^Job (\d+): (.+)")
FINISHED = re.compile(r"^Finished jobid: (\d+) ")
# What `runtime.Progress` logs in a job.
WITHIN = re.compile(r"^\d\d:\d\d:\d\d (\d+)/(\d+) [a-z ]+, ")
LOSS = re.compile(r"\bloss ([\d.]+)(?: \+ ([\d.]+) \* ([\d.]+))?")
STEPS = re.compile(r"^\d+ of (\d+) steps \(")
# The message of a step, or of the check of the config.
ERROR = re.compile(r"^(?:\d\d:\d\d:\d\d error: |config: |\w*Error\b)")
# Seconds between two lines if the output is no terminal, which cannot replace a line.
EVERY = 30.0


class RunState:
    """What is known of a run from the output of Snakemake and of its jobs.

    Attributes:
        seconds: estimated seconds of each job on some machine, by its number.
        total: number of jobs; 0 until Snakemake has said it.
        running: the messages of the jobs that run, by their numbers.
        finished: the numbers of the jobs that are done.
        within: share that is done of the job that logged its progress last.
        loss: its loss.
        errors: lines that say why a job or the run failed.
    """

    def __init__(self, now: float) -> None:
        self.started = now
        self.seconds: dict[int, float] = {}
        self.total = 0
        self.running: dict[int, str] = {}
        self.finished: set[int] = set()
        self.within = 0.0
        self.loss = ""
        self.errors: list[str] = []

    def read(self, line: str) -> None:
        """Take in one line of output."""
        line = line.rstrip("\n")
        if found := STARTED.match(line):
            self.running[int(found[1])] = found[2]
            self.within, self.loss = 0.0, ""
        elif found := FINISHED.match(line):
            self.running.pop(int(found[1]), None)
            self.finished.add(int(found[1]))
            self.within, self.loss = 0.0, ""
        elif found := STEPS.match(line):
            self.total = int(found[1])
        elif found := WITHIN.match(line):
            self.within = int(found[1]) / max(1, int(found[2]))
            if loss := LOSS.search(line):
                # In stage 1, and with alpha 0, there is no unlikelihood loss.
                has_two = loss[2] and float(loss[2])
                self.loss = f"{loss[1]} + {loss[2]} * {loss[3]}" if has_two else loss[1]
        elif ERROR.match(line) and line not in self.errors:
            self.errors.append(line)

    def seconds_left(self, now: float) -> float | None:
        """Return the estimated number of seconds until the end; None while nothing is known."""
        done = sum(self.seconds.get(job, 0.0) for job in self.finished)
        # Of several jobs at once, the longest one is the one that logs its progress.
        longest = max((self.seconds.get(job, 0.0) for job in self.running), default=0.0)
        done += self.within * longest
        total = sum(self.seconds.values())
        if not done or not total:
            return None
        return (total - done) / done * (now - self.started)

    def line(self, now: float) -> str:
        """Return one line for a person who waits."""
        parts = [f"step {min(len(self.finished) + 1, self.total)} of {self.total}" if self.total else "starting"]
        left = self.seconds_left(now)
        if left is not None:
            parts.append(f"about {max(1, round(left / 60))} min left")
        if self.running:
            parts.append(max(self.running.items(), key=lambda job: self.seconds.get(job[0], 0.0))[1])
        if self.within:
            parts.append(f"{self.within:.0%}")
        if self.loss:
            parts.append(f"loss {self.loss}")
        return " · ".join(parts)


def run(arguments: list[str]) -> int:
    """Run Snakemake with these arguments, and show its progress; return its exit status."""
    folder = working_folder(arguments)
    (folder / LOG).parent.mkdir(parents=True, exist_ok=True)
    estimates = folder / ESTIMATES
    estimates.unlink(missing_ok=True)
    state = RunState(time.monotonic())
    printer = _Printer()
    command = [sys.executable, "-m", "snakemake", *arguments]
    with (
        open(folder / LOG, "w", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as child,
    ):
        # Ctrl-C reaches Snakemake, too, whose jobs then save their state.
        handlers = {
            signal.SIGINT: lambda *_: printer.finish("stopping; what is running saves its state"),
            signal.SIGTERM: lambda *_: child.terminate(),
        }
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        for line in child.stdout or ():
            log.write(line)
            log.flush()
            state.read(line)
            if not state.seconds and estimates.exists():
                state.seconds = {int(job): value for job, value in json.loads(estimates.read_text()).items()}
            printer.show(state.line(time.monotonic()))
    for number, handler in previous.items():
        signal.signal(number, handler)
    printer.finish("")
    minutes = (time.monotonic() - state.started) / 60
    if child.returncode:
        print(*(state.errors or [f"Snakemake ended with status {child.returncode}."]), sep="\n")
        print(f"All messages: {folder / LOG}. After a correction, the same command continues where this run stopped.")
    else:
        print(*end_of_run(folder, minutes), sep="\n")
    return child.returncode


def working_folder(arguments: list[str]) -> Path:
    """Return the folder in which Snakemake runs with these arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--directory", "-d", type=Path, default=Path())
    folder: Path = parser.parse_known_args(arguments)[0].directory
    return folder


def end_of_run(folder: Path, minutes: float) -> list[str]:
    """Return what a person reads at the end: mean scores of all systems, where the page is, and what to try next."""
    lines = []
    rows = [row for row in read_table(folder / SUMMARY) if row["direction"] == "AVG"]
    for experiment in dict.fromkeys((row["base_model"], row["benchmark"]) for row in rows):
        of_experiment = [row for row in rows if (row["base_model"], row["benchmark"]) == experiment]
        values = {(row["system"], row["supervision"], row["metric"]): row["mean"] for row in of_experiment}
        groups = [
            group for group in ("zero-shot", "supervised") if group in {row["supervision"] for row in of_experiment}
        ]
        columns = [(group, metric) for group in groups for metric in ("BLEU", "OTR")]
        heads = [f"{group} {metric}" + (" (%)" if metric == "OTR" else "") for group, metric in columns]
        systems = list(dict.fromkeys(row["system"] for row in of_experiment))
        width = max(map(len, systems))
        lines += ["", f"{experiment[0]} on {experiment[1]}, means over directions and seeds", ""]
        lines.append("  ".join(["system".ljust(width), *heads]))
        for system in systems:
            cells = [
                _cell(values.get((system, *column), "")).rjust(len(head))
                for column, head in zip(columns, heads, strict=True)
            ]
            lines.append("  ".join([system.ljust(width), *cells]))
    lines += [
        "",
        f"Finished in {minutes:.0f} min. Open {folder / PAGE} in a browser:"
        " every line of every system, figures and tables.",
        "OTR is the share of outputs in a wrong language. One seed is no evidence: add `--config 'seeds=[1, 2, 3]'`.",
    ]
    return lines


def _cell(value: str) -> str:
    return f"{float(value):.1f}" if value else ""


class _Printer:
    """Replaces the line on a terminal; elsewhere, prints a line now and then."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.printed = -EVERY
        self.text = ""

    def show(self, text: str) -> None:
        now = time.monotonic()
        if text == self.text or now - self.printed < (0.2 if self.is_terminal else EVERY):
            return
        self.printed, self.text = now, text
        if self.is_terminal:
            columns = shutil.get_terminal_size().columns
            print(f"\r\x1b[K{text[: columns - 1]}", end="", flush=True)
        else:
            print(text, flush=True)

    def finish(self, text: str) -> None:
        """End the line, and print a last one."""
        if self.is_terminal:
            print("\r\x1b[K", end="")
        if text:
            print(text, flush=True)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

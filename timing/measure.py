"""Speed of the evaluation: lines per second of off-target measurement, seconds of a whole paired bootstrap.

    make tiny && python -m timing.measure --json measure.json

Language identification and the off-target scores run on one core over 10,000 output lines of the demo. The bootstrap
takes 1,000 resamples of twelve directions and eight systems. SacreBLEU's own bootstrap compares one system with the
baseline in one direction.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sacrebleu.significance import PairedTest

from timing.train_step import machine
from workflow_scripts.lat.data.lid import load_identifier
from workflow_scripts.lat.evaluation.offtarget import classify, off_target_scores
from workflow_scripts.lat.evaluation.scores import metrics
from workflow_scripts.lat.files import read_lines

# The seed of the results, and `shared` for the system on the untrained base model.
SEED = "1"
SYSTEMS = ("Base", "MT", "Post-ins", "PTL", "1-shot", "5-shot", "C_src+lang", "LAT")
LANGUAGES = ("en", "it", "nl", "ro")
DIRECTIONS = [f"{source}-{target}" for source in LANGUAGES for target in LANGUAGES if source != target]
LINES = 10_000
RESAMPLES = 1000


def folder_of(system: str) -> str:
    """Return the folder of a system below those of the steps."""
    return f"tiny/demo/{'shared' if system == 'Base' else f'seed{SEED}'}/{system}"


def lid_lines_per_second(results: Path, rounds: int) -> float:
    """Lines per second that one core identifies, classifies and counts; the median over the rounds."""
    outputs, sources = [], []
    for system in SYSTEMS:
        outputs += read_lines(results / "decode" / folder_of(system) / "it-nl.txt")
        sources += read_lines(results / "download/demo/test/it-nl.src.txt")
    repeats = -(-LINES // len(outputs))
    outputs, sources = (outputs * repeats)[:LINES], (sources * repeats)[:LINES]
    identifier = load_identifier(str(results / "download/sources/lid.176.ftz/lid.176.ftz"))
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        off_target_scores(classify(identifier.identify(outputs), outputs, sources, "it-nl"), outputs, "it-nl")
        seconds.append(time.process_time() - started)
    return LINES / statistics.median(seconds)


def bootstrap_seconds(results: Path) -> float:
    """Wall time in seconds of the whole significance step, including the start of Python."""
    zero_shot = [direction for direction in DIRECTIONS if "en" not in direction.split("-")]
    supervised = [direction for direction in DIRECTIONS if "en" in direction.split("-")]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "workflow_scripts.significance"]
        for system in SYSTEMS:
            command += ["--system", system, "shared" if system == "Base" else SEED]
            command += [
                results / step / folder_of(system) / file for step, file in (("decode", ""), ("detect", "lines.tsv"))
            ]
        command += ["--references", results / "download/demo/test", "--baselines", "MT"]
        command += ["--supervised", *supervised, "--zero-shot", *zero_shot, "--resamples", RESAMPLES]
        for table in ("intervals", "summary", "comparisons"):
            command += [f"--{table}", Path(scratch) / f"{table}.tsv"]
        started = time.perf_counter()
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        return time.perf_counter() - started


def sacrebleu_seconds(results: Path) -> float:
    """Wall time in seconds of SacreBLEU's own paired bootstrap of one system and direction, BLEU and chrF++."""
    references = read_lines(results / "download/demo/test/it-nl.ref.txt")
    named = [(system, read_lines(results / "decode" / folder_of(system) / "it-nl.txt")) for system in ("MT", "LAT")]
    started = time.perf_counter()
    PairedTest(named, metrics("it-nl"), [references], test_type="bs", n_samples=RESAMPLES)()
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder of a finished demo")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of every measurement")
    arguments = parser.parse_args()
    results = {
        "lid_lines_per_s": lid_lines_per_second(arguments.results, arguments.rounds),
        "bootstrap_s": statistics.median(bootstrap_seconds(arguments.results) for _ in range(arguments.rounds)),
        "sacrebleu_one_direction_s": statistics.median(
            sacrebleu_seconds(arguments.results) for _ in range(arguments.rounds)
        ),
        "machine": machine(),
    }
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

"""Time and memory of the evaluation at scale, from output lines to the page, and how they grow with the lines.

    make demo && python -m timing.scale --json scale.json

The outputs are made up: all directions between 30 languages, eight systems and one seed, 200 lines each, which are 1.4
million lines. Half and a quarter of the directions follow from 21 and 15 languages. Every job is a process of its own
with the command line that the workflow gives it, and as many run at a time as there are cores. `make demo` downloads
the language identifier.

The results are `scale_s`, the seconds of the largest size from the first job to the last one; `scale_memory_gb`, the
peak memory of its largest process; and `scale_exponent`, the slope of the seconds over the lines on logarithmic axes:
1 if twice as many lines take twice as long. The seconds of other load on the same cores are in `scale_s`, but not in
`cpu_s`, the time that all processes spent on cores.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.lat.files import InputError, write_lines
from workflow_scripts.lat.languages import language
from workflow_scripts.lat.runtime import cpu_model, run_step

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = (30, 21, 15)
LINES = 200
BASE_MODEL, BENCHMARKS, BASELINE, SEED, SHARED = "made-up", ("all",), "MT", "1", "shared"
# By system: the share of other words than in the reference, and the share of lines in English.
SYSTEMS = {
    "Base": (0.9, 0.6),
    "MT": (0.4, 0.4),
    "Post-ins": (0.4, 0.3),
    "PTL": (0.45, 0.2),
    "1-shot": (0.6, 0.5),
    "5-shot": (0.55, 0.5),
    "C_src+lang": (0.45, 0.3),
    "LAT": (0.35, 0.05),
}
UNTRAINED = "Base"

LATIN = "abcdefghijklmnopqrstuvwxyz"
CYRILLIC = "".join(map(chr, range(0x430, 0x450)))
KANA = "".join(map(chr, range(0x3042, 0x3094)))
HAN = "".join(map(chr, range(0x4E00, 0x5200)))
HANGUL = "".join(map(chr, range(0xAC00, 0xB000)))
ARABIC = "".join(map(chr, range(0x627, 0x64B)))
DEVANAGARI = "".join(map(chr, range(0x915, 0x93A)))
GREEK = "".join(map(chr, range(0x3B1, 0x3CA)))
# The letters of each script, and the longest words.
SCRIPTS = {
    "Latn": (LATIN, 10),
    "Cyrl": (CYRILLIC, 10),
    "Jpan": (KANA + HAN, 3),
    "Kore": (HANGUL, 5),
    "Hans": (HAN, 2),
    "Arab": (ARABIC, 8),
    "Deva": (DEVANAGARI, 8),
    "Grek": (GREEK, 10),
}
UNSPACED = ("ja", "zh")
VOCABULARY = 3000
# Words of a line: the shortest and the longest lines.
WORDS = 8, 26
# Languages in the order in which they are added, each with its further letters. One in ten has a tokenizer of its own.
CODES = {
    "en": "", "de": "äöüß", "fr": "éèêàç", "it": "àèéìò", "nl": "ëï", "ro": "ăâîșț", "cs": "áčďéěíňóřšťúůýž",
    "ru": "", "uk": "іїєґ", "zh": "", "es": "ñáéíóú", "pt": "ãõáéíç", "pl": "ąćęłńóśźż", "sv": "åäö", "da": "æøå",
    "fi": "äö", "hu": "áéíóöőúüű", "el": "", "bg": "", "ja": "", "tr": "çğıöşü", "id": "", "ar": "", "hi": "",
    "et": "äõöü", "lv": "āčēģīķļņšūž", "lt": "ąčęėįšųūž", "sk": "áäčďéíľĺňóôŕšťúýž", "sl": "čšž", "ko": "",
}  # fmt: skip

Words = list[list[str]]


@dataclass(frozen=True)
class Job:
    """A job of the workflow: its step, and its command line after `python -m workflow_scripts.<step>`."""

    step: str
    words: Sequence[str | Path]


def copy_workflow(folder: Path) -> None:
    """Copy scripts and resources."""
    for name in ("workflow_scripts", "resources"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def make_vocabulary(code: str, script: str, random: np.random.Generator) -> list[str]:
    """Return made-up words of a language; the first one is the most frequent."""
    letters, longest = SCRIPTS[script]
    letters += CODES[code]
    lengths = random.integers(1, longest, size=VOCABULARY, endpoint=True)
    return ["".join(letters[number] for number in random.integers(len(letters), size=length)) for length in lengths]


def draw_words(vocabulary: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """Draw words whose frequencies are about those of a text: the n-th word has a share proportional to 1 / n."""
    ranks = (VOCABULARY ** random.random(count)).astype(int) - 1
    return [vocabulary[rank] for rank in ranks]


def make_outputs(folder: Path, codes: Sequence[str], lines: int) -> list[str]:
    """Write a test set and the outputs of all systems; the same sentences are tested in all directions.

    Returns:
        The directions.
    """
    random = np.random.default_rng(1)
    vocabularies = {code: make_vocabulary(code, language(code).script, random) for code in codes}
    texts: dict[str, Words] = {}
    for code in codes:
        lengths = random.integers(*WORDS, size=lines, endpoint=True)
        texts[code] = [draw_words(vocabularies[code], length, random) for length in lengths]

    def join(code: str, words: Iterable[str]) -> str:
        return f"{('' if code in UNSPACED else ' ').join(words)}{'。' if code in UNSPACED else '.'}"

    directions = []
    joined = {code: [join(code, words) for words in of_language] for code, of_language in texts.items()}
    for source, target in itertools.permutations(codes, 2):
        direction = f"{source}-{target}"
        directions.append(direction)
        write_lines(folder / f"test/{direction}.src.txt", joined[source])
        write_lines(folder / f"test/{direction}.ref.txt", joined[target])
        others = iter(draw_words(vocabularies[target], len(SYSTEMS) * lines * WORDS[1], random))
        for system, (changed, off_target) in SYSTEMS.items():
            outputs = []
            for number, words in enumerate(texts[target]):
                kind, *chances = random.random(1 + len(words))
                if kind < off_target:
                    outputs.append(joined["en"][number])
                elif kind > 0.99:
                    outputs.append(("", "...", joined[source][number])[number % 3])
                else:
                    changes = zip(words, chances, strict=True)
                    outputs.append(
                        join(target, (next(others) if chance < changed else word for word, chance in changes))
                    )
            write_lines(folder / f"decode/{system}/{direction}.txt", outputs)
    return directions


def stages(
    folder: Path, directions: Sequence[str], lid: Sequence[str], benchmarks: Sequence[str] = BENCHMARKS
) -> Iterator[list[Job]]:
    """Yield the jobs of the steps from detect to page; the jobs of one list may run at the same time.

    Args:
        folder: folder of test sets and outputs.
        directions: the directions.
        lid: the language identifiers.
        benchmarks: benchmarks of tables and page, all of which have the same outputs.
    """
    seeds = {system: SHARED if system == UNTRAINED else SEED for system in SYSTEMS}
    groups = {"supervised": [d for d in directions if "en" in d.split("-")]}
    groups["zero-shot"] = [d for d in directions if d not in set(groups["supervised"])]
    columns: list[str | Path] = []
    for supervision, of_group in groups.items():
        for benchmark in benchmarks:
            columns += ["--directions", benchmark, supervision, *of_group]
    test, tables = folder / "test", folder / "tables"
    paths = {
        system: {
            "outputs": folder / f"decode/{system}",
            "lines": folder / f"detect/{system}/lines.tsv",
            "score": folder / f"score/{system}.tsv",
            "off-target": folder / f"detect/{system}/otr.tsv",
        }
        for system in SYSTEMS
    }

    detect: list[str | Path] = ["--sources", test, "--lid", *lid, "--directions", *sorted(directions)]
    reference = folder / "detect/references"
    found = [("reference", test, ".ref.txt", reference / "lines.tsv", reference / "otr.tsv")]
    found += [(system, of["outputs"], ".txt", of["lines"], of["off-target"]) for system, of in paths.items()]
    yield [
        Job("detect", ["--folder", path, "--suffix", suffix, "--lines", lines, "--scores", scores, *detect])
        for _, path, suffix, lines, scores in found
    ]
    score: list[str | Path] = ["--references", test, "--directions", *sorted(directions)]
    yield [Job("score", ["--hypotheses", of["outputs"], "--output", of["score"], *score]) for of in paths.values()]
    words: list[str | Path] = ["--references", test, "--baselines", BASELINE]
    for system, of in paths.items():
        words += ["--system", system, seeds[system], of["outputs"], of["lines"], of["score"], of["off-target"]]
    for supervision, of_group in groups.items():
        words += [f"--{supervision}", *of_group]
    for name in ("intervals", "summary", "comparisons"):
        words += [f"--{name}", folder / f"significance/{name}.tsv"]
    yield [Job("significance", words)]
    words = [*columns, "--baselines", BASELINE, "--output", tables]
    for benchmark in benchmarks:
        words += ["--reference-scores", benchmark, reference / "otr.tsv"]
        words += ["--significance", BASE_MODEL, benchmark, folder / "significance"]
        for system, of in paths.items():
            words += ["--scores", BASE_MODEL, benchmark, system, seeds[system], of["score"], of["off-target"]]
    yield [Job("tables", words)]
    words = [*columns, "--baselines", BASELINE, "--config", "seeds: [1]"]
    for name in ("scores", "intervals", "summary", "comparisons", "versions"):
        words += [f"--{name}", tables / f"{name}.tsv"]
    for benchmark in benchmarks:
        words += ["--texts", benchmark, test]
        for system, of in paths.items():
            words += ["--outputs", BASE_MODEL, benchmark, system, seeds[system], of["outputs"], of["lines"]]
    yield [Job("page", [*words, "--output", folder / "page/index.html", "--examples", folder / "page/examples"])]


@dataclass
class Use:
    """What the jobs of a step have used.

    Attributes:
        jobs: number of jobs.
        seconds: wall time from the start of the first job to the end of the last one.
        cpu_s: time on cores of all jobs.
        memory_gb: peak memory of the largest job.
    """

    jobs: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    memory_gb: float = 0.0


def run_jobs(jobs: Sequence[Job], workflow: Path, at_a_time: int) -> Use:
    """Run the jobs of one step, some of them at a time.

    Raises:
        InputError: a job failed.
    """
    use = Use(len(jobs))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(workflow)}
    started = time.perf_counter()
    waiting = list(jobs)
    running: dict[int, tuple[Job, Path, subprocess.Popen[bytes]]] = {}
    while waiting or running:
        while waiting and len(running) < at_a_time:
            job = waiting.pop(0)
            log = workflow / f"{job.step}-{len(waiting)}.log"
            with open(log, "w") as handle:
                command = [sys.executable, "-m", f"workflow_scripts.{job.step}", *map(str, job.words)]
                process = subprocess.Popen(command, cwd=workflow, env=environment, stdout=handle, stderr=handle)
            # The process is kept: a new Popen waits for finished ones to which nothing refers, and `wait4` misses them.
            running[process.pid] = job, log, process
        # Unlike `Popen.wait`, this tells time and memory of each job.
        pid, status, usage = os.wait4(-1, 0)
        job, log, process = running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            raise InputError(f"{job.step} failed: {log.read_text()[-2000:]}")
        use.cpu_s += usage.ru_utime + usage.ru_stime
        use.memory_gb = max(use.memory_gb, usage.ru_maxrss * 1024 / 1e9)
    use.seconds = time.perf_counter() - started
    return use


def measure(
    languages: int, lines: int, lid: Sequence[str], at_a_time: int, folder: Path, benchmarks: Sequence[str] = BENCHMARKS
) -> dict[str, object]:
    """Return seconds and memory of one size, in all and by step."""
    copy_workflow(folder / "workflow")
    directions = make_outputs(folder, list(CODES)[:languages], lines)
    load = os.getloadavg()[0]
    steps: dict[str, Use] = {}
    started = time.perf_counter()
    for jobs in stages(folder, directions, lid, benchmarks):
        steps[jobs[0].step] = use = run_jobs(jobs, folder / "workflow", at_a_time)
        print(f"{languages} languages, {jobs[0].step}: {use.seconds:.1f} s, {use.memory_gb:.2f} GB", file=sys.stderr)
    return {
        "languages": languages,
        "directions": len(directions),
        "lines": len(directions) * len(SYSTEMS) * lines,
        "seconds": time.perf_counter() - started,
        "cpu_s": sum(use.cpu_s for use in steps.values()),
        "memory_gb": max(use.memory_gb for use in steps.values()),
        "page_mb": sum(path.stat().st_size for path in (folder / "page").rglob("*") if path.is_file()) / 1e6,
        "load_before": load,
        "steps": {name: vars(use) for name, use in steps.items()},
    }


def exponent(sizes: Sequence[dict[str, float]], column: str) -> float:
    """Return the slope of the logarithm of a column over that of the lines; `nan` for a single size."""
    if len(sizes) < 2:
        return math.nan
    lines, seconds = (np.log([size[name] for size in sizes]) for name in ("lines", column))
    return float(np.polyfit(lines, seconds, 1)[0])


def main() -> None:
    """Measure all sizes, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--languages", type=int, nargs="+", default=LANGUAGES, help="sizes, the largest one first")
    parser.add_argument("--lines", type=int, default=LINES, help="lines of each direction")
    parser.add_argument("--benchmarks", type=int, default=1, help="benchmarks of tables and page, with equal outputs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="jobs at a time")
    parser.add_argument("--lid", nargs="+", default=["lid.176.ftz", "py3langid"], help="language identifiers")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder with the identifier")
    parser.add_argument("--folder", type=Path, help="folder in which all files are kept, by the number of languages")
    arguments = parser.parse_args()
    if not all(2 <= number <= len(CODES) for number in arguments.languages):
        parser.error(f"--languages: give numbers from 2 to {len(CODES)}")
    lid = []
    for name in arguments.lid:
        downloaded = arguments.results / f"download/sources/{name}/{name}"
        path = downloaded if downloaded.exists() else Path(name)
        if name != "py3langid" and not path.exists():
            raise InputError(f"--lid: no file {downloaded} or {name}; run `make demo`, or give another identifier")
        lid.append(name if name == "py3langid" else str(path.resolve()))

    sizes: list[dict[str, object]] = []
    for languages in arguments.languages:
        with contextlib.ExitStack() as stack:
            folder = arguments.folder and (arguments.folder / str(languages)).resolve()
            if not folder:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            benchmarks = [*BENCHMARKS, *(f"copy {number}" for number in range(1, arguments.benchmarks))]
            sizes.append(measure(languages, arguments.lines, lid, arguments.jobs, folder, benchmarks))
    results = {
        "scale_s": sizes[0]["seconds"],
        "scale_memory_gb": sizes[0]["memory_gb"],
        "scale_exponent": exponent(sizes, "seconds"),
        "scale_cpu_exponent": exponent(sizes, "cpu_s"),
        "jobs": arguments.jobs,
        "lid": [Path(name).name for name in lid],
        "machine": cpu_model(),
        "sizes": sizes,
    }
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    run_step(main)

"""Learned metrics: batches, the cache, and BLEURT in its own environment on a tiny checkpoint."""

import json
import subprocess
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.learned import Segment, batches_by_length, load_metric, score_cached
from workflow_scripts.lat.files import InputError, read_table

BLEURT_PYTHON = ROOT / ".venv-bleurt" / "bin" / "python"


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_batches_hold_every_row_once_under_the_bound(lengths, bound):
    batches = batches_by_length(lengths, bound)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[number] for number in batch) <= bound
    longest = [max(lengths[number] for number in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


class Counting:
    """A metric that scores lengths and counts how often it was asked."""

    signature = "model:length"

    def __init__(self) -> None:
        self.asked = 0

    def score(self, segments, batch_tokens):
        self.asked += 1
        return [float(len(its.hypothesis)) for its in segments]


def test_the_same_lines_are_scored_once(tmp_path):
    metric = Counting()

    def scored(hypothesis="ab", model="m"):
        segments = [Segment("a", hypothesis, "c"), Segment("d", "e", "f")]
        return score_cached(segments, tmp_path, {"model": model}, lambda: metric, 100)

    assert scored() == scored() == ([2.0, 1.0], "model:length")
    assert metric.asked == 1
    assert scored("abc")[0] == [3.0, 1.0]
    scored(model="n")
    assert metric.asked == 3


def test_a_missing_library_is_named_with_the_command_that_installs_it():
    with pytest.raises(InputError, match=r"envs/bleurt.txt .*make bleurt"):
        load_metric("bleurt", "lucadiliello/BLEURT-20", None)
    with pytest.raises(InputError, match=r"envs/comet.txt .*make comet"):
        load_metric("comet", "Unbabel/wmt22-comet-da", None)


def test_comet_is_given_source_output_and_reference(monkeypatch, tmp_path):
    asked = {}

    class Model:
        def predict(self, data, batch_size, gpus):
            asked.update(data=data, batch_size=batch_size, gpus=gpus)
            return types.SimpleNamespace(scores=[0.5] * len(data))

    library = types.ModuleType("comet")
    library.load_from_checkpoint = lambda path: asked.update(path=path) or Model()
    library.download_model = lambda name: f"downloaded {name}"
    monkeypatch.setitem(sys.modules, "comet", library)
    metric = load_metric("comet", "Unbabel/wmt22-comet-da", None)
    assert metric.score([Segment("s", "h", "r")], 640) == [0.5]
    assert asked["path"] == "downloaded Unbabel/wmt22-comet-da"
    assert asked["data"] == [{"src": "s", "mt": "h", "ref": "r"}]
    assert (asked["batch_size"], asked["gpus"]) == (10, 0)
    assert "wmt22-comet-da" in metric.signature


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    """What tiny_bleurt.py found in BLEURT's own environment."""
    if not BLEURT_PYTHON.is_file():
        pytest.skip("needs BLEURT's environment: run `make bleurt`")
    folder = tmp_path_factory.mktemp("bleurt") / "checkpoint"
    command = [BLEURT_PYTHON, ROOT / "tests" / "unit" / "tiny_bleurt.py", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"folder": str(folder)}


def test_the_step_writes_figures_lines_and_a_cache(found, tmp_path):
    texts = {"it-nl.src.txt": "uno\ndue\n", "it-nl.ref.txt": "een\ntwee\n", "it-nl.txt": "de kat\nhuis\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    def step(*more: str) -> subprocess.CompletedProcess:
        command = [BLEURT_PYTHON, "-m", "workflow_scripts.score_learned", "--name", "BLEURT", "--kind", "bleurt"]
        command += ["--model", found["folder"], "--hypotheses", tmp_path, "--test", tmp_path, "--directions", "it-nl"]
        command += ["--cache", tmp_path / "cache", "--lines", tmp_path / "lines.tsv", "--output", tmp_path / "out.tsv"]
        return subprocess.run([*command, *more], capture_output=True, text=True, cwd=ROOT)

    refused = step()
    assert refused.returncode == 1 and "not BLEURT-20" in refused.stderr
    done = step("--shape", "2", "32", "2", "300")
    assert done.returncode == 0, done.stderr
    (figure,) = read_table(tmp_path / "out.tsv")
    lines = [float(row["score"]) for row in read_table(tmp_path / "lines.tsv")]
    assert float(figure["value"]) == pytest.approx(sum(lines) / 2, abs=1e-3)
    assert (figure["metric"], figure["n"]) == ("BLEURT", "2")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (tmp_path / "it-nl.txt").write_text("de kat\n")
    short = step("--shape", "2", "32", "2", "300")
    assert short.returncode == 1 and "it-nl: 2 sources, 1 hypotheses, 2 references" in short.stderr


def test_bleurt_reads_the_ids_of_raw_sentencepiece(found):
    assert found["ids_equal"]
    assert found["begins"] == ["[CLS]"]


def test_bleurt_scores_do_not_depend_on_the_batch(found):
    assert len(set(found["alone"])) > 40
    assert found["batched"] == pytest.approx(found["alone"], abs=1e-5)
    assert found["plain"] == pytest.approx(found["alone"], abs=1e-5)
    assert len(found["long"]) == 1
    assert "transformers:4.57" in found["signature"]


def test_a_folder_that_is_not_bleurt_20_is_refused(found):
    assert "not BLEURT-20: layers, hidden size, heads and vocabulary are (2, 32, 2, 300)" in found["another_shape"]
    assert "incomplete BLEURT checkpoint" in found["no_tokenizer"]
    assert "no BLEURT checkpoint" in found["nothing"]

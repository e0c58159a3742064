"""Learned metrics: batches, the cache, and BLEURT and COMET with tiny checkpoints in their separate environments."""

import json
import subprocess
import sys
import types
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.learned import (
    Segment,
    batches_by_length,
    load_metric,
    score_cached,
    weights_hash,
)
from workflow_scripts.lat.files import InputError, read_table

BLEURT_PYTHON = ROOT / ".venv-bleurt" / "bin" / "python"
# `make test` does not set up this environment, so that the tests of COMET's own library run only where it exists.
COMET_PYTHON = ROOT / ".venv-comet" / "bin" / "python"


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_batches_hold_every_row_once_and_respect_the_maximum(lengths, batch_tokens):
    batches = batches_by_length(lengths, batch_tokens)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[number] for number in batch) <= batch_tokens
    longest = [max(lengths[number] for number in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


class LengthMetric:
    """A metric whose score is the length of the hypothesis; it counts the calls of `score`."""

    signature = "model:length"
    cut_lines = 0

    def __init__(self) -> None:
        self.calls = 0

    def score(self, segments, batch_tokens):
        self.calls += 1
        return [float(len(segment.hypothesis)) for segment in segments]


def test_the_same_lines_are_scored_once(tmp_path):
    metric = LengthMetric()

    def scored(hypothesis="ab", model="m"):
        segments = [Segment("a", hypothesis, "c"), Segment("d", "e", "f")]
        return score_cached(segments, tmp_path, {"model": model}, lambda: metric, 100)

    assert scored() == scored() == ([2.0, 1.0], "model:length")
    assert metric.calls == 1
    assert scored("abc")[0] == [3.0, 1.0]
    scored(model="n")
    assert metric.calls == 3


def test_a_missing_library_is_named_with_the_command_that_installs_it():
    with pytest.raises(InputError, match=r"envs/bleurt.txt .*make bleurt"):
        load_metric("bleurt", "lucadiliello/BLEURT-20")
    with pytest.raises(InputError, match=r"envs/comet.txt .*make comet"):
        load_metric("comet", "Unbabel/wmt22-comet-da")


def test_comet_receives_source_hypothesis_and_reference(monkeypatch, tmp_path):
    received = {}

    class Model:
        hparams: ClassVar = {}
        encoder = types.SimpleNamespace(
            max_positions=7, tokenizer=lambda texts, **options: {"input_ids": [text.split() for text in texts]}
        )

        def requires_references(self):
            return True

        def predict(self, data, batch_size, gpus):
            received.update(data=data, batch_size=batch_size, gpus=gpus)
            return types.SimpleNamespace(scores=[0.5] * len(data))

    library = types.ModuleType("comet")
    library.load_from_checkpoint = lambda path: received.update(path=path) or Model()
    library.download_model = lambda name: f"downloaded {name}"
    monkeypatch.setitem(sys.modules, "comet", library)
    metric = load_metric("comet", "Unbabel/wmt22-comet-da")
    assert metric.score([Segment("s", "h", "r")], 640) == [0.5]
    assert received["path"] == "downloaded Unbabel/wmt22-comet-da"
    assert received["data"] == [{"src": "s", "mt": "h", "ref": "r"}]
    assert (received["batch_size"], received["gpus"]) == (10, 0)
    assert "wmt22-comet-da" in metric.signature
    assert metric.cut_lines == 0
    assert metric.score([Segment("s", "h", "r r r"), Segment("s", "h h h h", "r"), Segment("s s s s", "h", "r")], 640)
    assert metric.cut_lines == 2


def test_a_file_that_is_no_comet_checkpoint_is_refused(monkeypatch, tmp_path):
    library = types.ModuleType("comet")
    library.load_from_checkpoint = library.download_model = None
    monkeypatch.setitem(sys.modules, "comet", library)
    (tmp_path / "model.ckpt").write_text("x")
    with pytest.raises(InputError, match=r"model\.ckpt: no COMET checkpoint, which has a file .*hparams\.yaml"):
        load_metric("comet", str(tmp_path / "model.ckpt"))


@pytest.fixture(scope="module")
def comet_results(tmp_path_factory) -> dict:
    """The results of tiny_comet.py, which runs in the environment of COMET."""
    if not COMET_PYTHON.is_file():
        pytest.skip("needs COMET's environment: run `make comet`")
    command = [COMET_PYTHON, ROOT / "tests" / "unit" / "tiny_comet.py", tmp_path_factory.mktemp("comet") / "checkpoint"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "found", "weights"),
    [
        # The weights of the scores without and with the reference, and of the error spans, in the library's XCOMET.
        ("xcomet_metric", "XCOMETMetric", {"src": 0.12, "ref": 0.33, "unified": 0.33, "mqm": 0.22}),
        ("unified_metric", "UnifiedMetric", {"src": 1 / 3, "ref": 1 / 3, "unified": 1 / 3}),
    ],
)
def test_comet_scores_with_xcomet_and_unified_checkpoints(comet_results, name, found, weights):
    results = comet_results[name]
    assert results["class"] == found
    parts = {part.removesuffix("_scores"): values for part, values in results["parts"].items()}
    assert set(parts) == set(weights)
    if name == "xcomet_metric":
        parts |= {part: [min(score, 1) for score in parts[part]] for part in ("src", "ref", "unified")}
    expected = [sum(weights[part] * parts[part][line] for part in parts) for line in range(len(results["scores"]))]
    assert results["scores"] == pytest.approx(expected, abs=1e-5)
    assert results["alone"] == pytest.approx(results["scores"], abs=1e-4)
    assert len({round(score, 4) for score in results["scores"]}) > 2
    assert "unbabel-comet:2." in results["signature"]


@pytest.mark.parametrize("name", ["xcomet_metric", "unified_metric", "regression_metric"])
def test_comet_counts_the_inputs_that_the_library_cuts(comet_results, name):
    """The score stops changing with a longer reference where it is cut."""
    results = comet_results[name]
    assert results["first_cut"] == results["first_without_effect"]
    assert 40 < results["first_cut"] < 130


def test_a_damaged_comet_checkpoint_is_refused_in_one_line(comet_results):
    assert "damaged.ckpt: no COMET checkpoint (" in comet_results["damaged"]
    assert "no COMET checkpoint, which has a file" in comet_results["no_hparams"]


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("comet", {"revision": "main"}, "`revision` is a setting of bleurt and metricx, not of `kind: comet`"),
        ("comet", {"shape": [2, 32, 2, 300]}, "`shape` is a setting of bleurt, not of `kind: comet`"),
        ("bleurt", {"reference": False}, "`reference` is a setting of metricx, not of `kind: bleurt`"),
        ("metricx", {"shape": [2, 32, 2, 300]}, "`shape` is a setting of bleurt, not of `kind: metricx`"),
    ],
)
def test_settings_of_another_kind_are_refused(kind, settings, message):
    with pytest.raises(InputError, match=f"a/b: {message}; remove it"):
        load_metric(kind, "a/b", settings)


class Network:
    """A network with the given weights; all that the hash needs of one."""

    def __init__(self, **weights) -> None:
        self.state_dict = lambda: weights


def test_the_hash_of_weights_is_exact():
    weights = torch.arange(6.0).reshape(2, 3)
    first = weights_hash(Network(a=weights, b=torch.tensor(1)))
    assert first == weights_hash(Network(b=torch.tensor(1), a=weights.T.contiguous().T))
    # The sums of all these are equal.
    others = [weights.flip(0), weights.T.contiguous(), weights.reshape(3, 2), weights.double(), weights.bfloat16()]
    assert len({first, *(weights_hash(Network(a=other, b=torch.tensor(1))) for other in others)}) == 6
    assert weights_hash(Network(a=weights)) != weights_hash(Network(a=weights + torch.tensor(1e-30)))


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [("", "nl-it: no lines to score; the test set is empty"), ("a\n", "nl-it: 0 sources, 1 hypotheses")],
)
def test_files_are_checked_before_any_line_is_scored(tmp_path, hypotheses, message):
    for direction, text in (("it-nl", "uno\n"), ("nl-it", "")):
        for suffix in (".src.txt", ".ref.txt"):
            (tmp_path / f"{direction}{suffix}").write_text(text)
    (tmp_path / "it-nl.txt").write_text("een\n")
    (tmp_path / "nl-it.txt").write_text(hypotheses)
    command = [sys.executable, "-m", "workflow_scripts.score_learned", "--name", "BLEURT", "--kind", "bleurt"]
    command += ["--model", "none", "--hypotheses", tmp_path, "--test", tmp_path, "--directions", "it-nl", "nl-it"]
    command += ["--cache", tmp_path / "cache", "--lines", tmp_path / "lines.tsv", "--output", tmp_path / "out.tsv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict:
    """The results of tiny_bleurt.py, which runs in the environment of BLEURT."""
    if not BLEURT_PYTHON.is_file():
        pytest.skip("needs BLEURT's environment: run `make bleurt`")
    folder = tmp_path_factory.mktemp("bleurt") / "checkpoint"
    command = [BLEURT_PYTHON, ROOT / "tests" / "unit" / "tiny_bleurt.py", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"folder": str(folder)}


def test_the_step_writes_scores_line_scores_and_a_cache(results, tmp_path):
    texts = {"it-nl.src.txt": "uno\ndue\n", "it-nl.ref.txt": "een\ntwee\n", "it-nl.txt": "de kat\nhuis\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)

    def step(*more: str) -> subprocess.CompletedProcess:
        command = [BLEURT_PYTHON, "-m", "workflow_scripts.score_learned", "--name", "BLEURT", "--kind", "bleurt"]
        command += ["--model", results["folder"], "--hypotheses", tmp_path, "--test", tmp_path, "--directions", "it-nl"]
        command += ["--cache", tmp_path / "cache", "--lines", tmp_path / "lines.tsv", "--output", tmp_path / "out.tsv"]
        return subprocess.run([*command, *more], capture_output=True, text=True, cwd=ROOT)

    refused = step()
    assert refused.returncode == 1 and "not BLEURT-20" in refused.stderr
    done = step("--shape", "2", "32", "2", "300")
    assert done.returncode == 0, done.stderr
    (score,) = read_table(tmp_path / "out.tsv")
    lines = [float(row["score"]) for row in read_table(tmp_path / "lines.tsv")]
    assert float(score["value"]) == pytest.approx(sum(lines) / 2, abs=1e-3)
    assert (score["metric"], score["n"]) == ("BLEURT", "2")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    (tmp_path / "it-nl.txt").write_text("de kat\n")
    short = step("--shape", "2", "32", "2", "300")
    assert short.returncode == 1 and "it-nl: 2 sources, 1 hypotheses, 2 references" in short.stderr


def test_bleurt_token_ids_equal_those_of_sentencepiece(results):
    assert results["ids_equal"]
    assert results["begins"] == ["[CLS]"]


def test_bleurt_scores_do_not_depend_on_the_batch(results):
    assert len(set(results["alone"])) > 40
    assert results["batched"] == pytest.approx(results["alone"], abs=1e-5)
    assert results["plain"] == pytest.approx(results["alone"], abs=1e-5)
    assert results["long"][0] == results["long"][1]
    assert results["cut"] == [1, 0]
    assert "transformers:4.57" in results["signature"]


def test_a_folder_that_is_not_bleurt_20_is_refused(results):
    assert "not BLEURT-20: layers, hidden size, heads and vocabulary are (2, 32, 2, 300)" in results["another_shape"]
    assert "incomplete BLEURT checkpoint" in results["no_tokenizer"]
    assert "no BLEURT checkpoint" in results["nothing"]


@pytest.mark.parametrize(
    "content", ["{", '{"signature": "s", "scores": [1.0]}', '{"signature": "s", "scores": [NaN, 1.0]}']
)
def test_a_damaged_cache_is_scored_again(tmp_path, content):
    segments = [Segment("a", "b", "c"), Segment("d", "ee", "f")]
    expected = score_cached(segments, tmp_path, {}, LengthMetric, 100)
    (file,) = tmp_path.glob("*.json")
    file.write_text(content)
    assert score_cached(segments, tmp_path, {}, LengthMetric, 100) == expected

"""MetricX: ids and scores of the published code, batches, inputs that are too long, and checkpoints to refuse."""

import json
import math
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import tiny_metricx
import torch
from tiny_metricx import SEGMENTS, UNKNOWN, build_model, build_tokenizer, small_config
from transformers import MT5ForConditionalGeneration

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.learned import Segment, load_metric, score_cached
from workflow_scripts.lat.evaluation.metricx import SCORE_TOKEN, WINDOW, MetricX
from workflow_scripts.lat.evaluation.ranking import is_lower_better
from workflow_scripts.lat.files import InputError, read_table
from workflow_scripts.score_learned import cache_key, make_parser

# It has transformers 4, as the published code.
BLEURT_PYTHON = ROOT / ".venv-bleurt" / "bin" / "python"
LONG = Segment("la casa " * 400, "het huis " * 400, "een vogel")
MANY = [Segment(a.source, b.hypothesis, c.reference) for a in SEGMENTS for b in SEGMENTS for c in SEGMENTS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `tokenizer` and `model`."""
    folder = tmp_path_factory.mktemp("metricx")
    build_tokenizer(folder / "tokenizer")
    build_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def metric(folder) -> MetricX:
    return MetricX(str(folder / "model"), tokenizer=str(folder / "tokenizer"))


@pytest.fixture(scope="module")
def metric_without(folder) -> MetricX:
    """The same metric without references."""
    return MetricX(str(folder / "model"), tokenizer=str(folder / "tokenizer"), reference=False)


def plain_score(network: MT5ForConditionalGeneration, ids: list[int]) -> float:
    """Return the score of one input without batches, masks and the output layer of transformers."""
    with torch.inference_mode():
        states = network.encoder(input_ids=torch.tensor([ids])).last_hidden_state
        state = network.decoder(input_ids=torch.tensor([[0]]), encoder_hidden_states=states).last_hidden_state[0, 0]
        score = float(state.double() @ network.lm_head.weight[SCORE_TOKEN].double())
    return min(25.0, max(0.0, score))


def test_scores_equal_a_plain_computation(folder, metric, metric_without):
    network = build_model(folder / "again")
    expected = [plain_score(network, metric.input_ids(segment)) for segment in SEGMENTS]
    assert metric.score(SEGMENTS, 8192) == pytest.approx(expected, abs=1e-4)
    without = [plain_score(network, metric_without.input_ids(segment)) for segment in SEGMENTS]
    assert metric_without.score(SEGMENTS, 8192) == pytest.approx(without, abs=1e-4)
    assert len({round(score, 2) for score in expected + without}) == 2 * len(SEGMENTS)
    assert all(0 < score < 25 for score in expected + without)


def test_scores_do_not_depend_on_the_batch(metric):
    alone = [metric.score([segment], 1)[0] for segment in MANY]
    assert len({round(score, 3) for score in alone}) > 60
    for batch_tokens in (1, 100, 8192):
        assert metric.score(MANY, batch_tokens) == pytest.approx(alone, abs=1e-4)


def test_the_input_has_source_candidate_and_reference(metric, metric_without):
    segment = Segment("la casa", "het huis", "een vogel")
    texts = {
        metric: "source: la casa candidate: het huis reference: een vogel",
        metric_without: "source: la casa candidate: het huis",
    }
    for one, text in texts.items():
        assert one.input_ids(segment) == one._pieces.encode(text)
        assert one._pieces.eos_id() not in one.input_ids(segment)
    other = segment._replace(reference="no")
    assert metric_without.score([segment], 100) == metric_without.score([other], 100)
    assert metric.score([segment], 100) != metric.score([other], 100)


@pytest.mark.parametrize("text", UNKNOWN)
def test_characters_without_a_piece_are_one_unknown_token(metric, text):
    segment = Segment(text, "a", "b")
    assert any(metric._pieces.is_byte(number) for number in metric._pieces.encode(f"source: {text}"))
    ids = metric.input_ids(segment)
    unknown = metric._pieces.unk_id()
    assert unknown in ids and not any(map(metric._pieces.is_byte, ids))
    assert not any(a == b == unknown for a, b in pairwise(ids))


def test_ids_and_scores_are_those_of_the_published_code(folder, metric, metric_without, tmp_path):
    if not BLEURT_PYTHON.is_file():
        pytest.skip("needs an environment with transformers 4: run `make bleurt`")
    segments = [*SEGMENTS, *(Segment(text, text, text) for text in UNKNOWN), LONG]
    for name in ("model", "tokenizer"):
        shutil.copytree(folder / name, tmp_path / name)
    (tmp_path / "segments.json").write_text(json.dumps(segments))
    command = [BLEURT_PYTHON, ROOT / "tests" / "unit" / "published_metricx.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    published = json.loads(done.stdout.splitlines()[-1])
    for one, end in ((metric, ""), (metric_without, "_without")):
        assert [one.input_ids(segment)[:WINDOW] for segment in segments] == published[f"ids{end}"]
        assert one.score(segments, 8192) == pytest.approx(published[f"scores{end}"], abs=1e-4)


def test_inputs_that_are_too_long_are_cut_and_counted(folder, metric, tmp_path, caplog):
    ids = metric.input_ids(LONG)
    assert len(ids) > WINDOW
    network = build_model(folder / "again")
    scores, signature = score_cached([*SEGMENTS, LONG], tmp_path, {}, lambda: metric, 8192)
    assert scores[-1] == pytest.approx(plain_score(network, ids[:WINDOW]), abs=1e-4)
    assert scores[-1] != pytest.approx(plain_score(network, ids), abs=1e-4)
    assert signature.endswith("|cut:1")
    assert "1 of 6 inputs are longer than 1535 tokens; their ends are cut" in caplog.text
    assert score_cached([*SEGMENTS, LONG], tmp_path, {}, lambda: None, 8192) == (scores, signature)
    assert "cut" not in score_cached(SEGMENTS, tmp_path, {}, lambda: metric, 8192)[1]


def test_scores_are_clamped_and_must_be_finite(folder, tmp_path):
    for factor, expected in ((100, 25.0), (-100, 0.0), (math.inf, math.nan), (math.nan, math.nan)):
        network = build_model(folder / "again")
        with torch.no_grad():
            network.lm_head.weight[SCORE_TOKEN] *= factor
        tiny_metricx.save(network, tmp_path / "model")
        metric = MetricX(str(tmp_path / "model"), tokenizer=str(folder / "tokenizer"))
        assert metric.score(SEGMENTS, 8192) == pytest.approx([expected] * len(SEGMENTS), nan_ok=True)
    with pytest.raises(InputError, match="line 1 has a score that is not finite; use another checkpoint"):
        score_cached(SEGMENTS, tmp_path / "cache", {}, lambda: metric, 8192)


def test_the_dtype_is_that_of_the_checkpoint_or_the_given_one(folder, metric, tmp_path):
    build_model(tmp_path / "bf16", torch.bfloat16)
    tokenizer = str(folder / "tokenizer")
    half = MetricX(str(tmp_path / "bf16"), tokenizer=tokenizer)
    assert "|dtype:bfloat16|" in half.signature and "|dtype:float32|" in metric.signature
    given = MetricX(str(folder / "model"), tokenizer=tokenizer, dtype="bf16")
    assert given.signature.split("|")[1:] == half.signature.split("|")[1:]
    scores = half.score(SEGMENTS, 8192)
    assert scores == given.score(SEGMENTS, 8192) == pytest.approx(metric.score(SEGMENTS, 8192), abs=1.0)
    assert [half.score([segment], 1)[0] for segment in SEGMENTS] == pytest.approx(scores, abs=0.25)
    full = MetricX(str(tmp_path / "bf16"), tokenizer=tokenizer, dtype="fp32")
    assert "|dtype:float32|" in full.signature
    assert scores == pytest.approx(full.score(SEGMENTS, 8192), abs=1.0)


def test_the_signature_says_how_scores_are_made(folder, metric, metric_without):
    parts = dict(part.split(":", 1) for part in metric.signature.split("|"))
    assert parts["model"] == "model" and parts["ref"] == "yes" and parts["better"] == "lower"
    assert parts["tokenizer"].startswith("tokenizer:") and parts["transformers"].startswith("5.")
    assert metric_without.signature == metric.signature.replace("ref:yes", "ref:no")


def without(name: str):
    """Return a function that writes a checkpoint without one weight."""
    return lambda folder: tiny_metricx.save(build_model(folder), folder, without=name)


def with_weight(name: str, weight: torch.Tensor | None = None):
    """Return a function that writes a checkpoint with one more weight, or with another one."""

    def write(folder) -> None:
        build_model(folder)
        weights = torch.load(folder / "pytorch_model.bin")
        torch.save(weights | {name: torch.zeros(3) if weight is None else weight}, folder / "pytorch_model.bin")

    return write


def with_config(**values):
    """Return a function that writes a checkpoint with other values in its configuration."""

    def write(folder) -> None:
        build_model(folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return write


def with_small_vocabulary(folder) -> None:
    tiny_metricx.save(MT5ForConditionalGeneration(small_config(SCORE_TOKEN)), folder)


def with_damaged_weights(folder) -> None:
    build_model(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-1000])


def saved_by_transformers_5(folder) -> None:
    """Write the checkpoint of an mT5 whose output layer is that of the embeddings."""
    MT5ForConditionalGeneration(small_config()).save_pretrained(folder)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (without("lm_head.weight"), r"it has no output layer \(lm_head\) apart from the embeddings"),
        (saved_by_transformers_5, r"it has no output layer \(lm_head\) apart from the embeddings"),
        (without("decoder.final_layer_norm.weight"), "1 weights are missing, such as decoder.final_layer_norm.weight"),
        (with_weight("head.weight"), "1 weights are unexpected, such as head.weight"),
        (with_config(d_ff=24), "weights are mismatched, such as decoder.block.0.|an incomplete MetricX checkpoint"),
        (
            with_weight("encoder.embed_tokens.weight", torch.zeros(tiny_metricx.VOCABULARY, 8)),
            "encoder.embed_tokens has other embeddings than `shared`",
        ),
        (with_small_vocabulary, "its vocabulary of 250089 lacks the token 250089"),
        (with_config(model_type="t5"), "its model type is 't5', not 'mt5'"),
        (with_damaged_weights, "an incomplete MetricX checkpoint"),
        (
            lambda folder: None,
            r"no MetricX checkpoint \(.*\); check its name and the network, or set `model` to a folder",
        ),
    ],
)
def test_a_checkpoint_that_is_not_metricx_is_refused_in_one_line(folder, tmp_path, write, message):
    write(tmp_path / "model")
    with pytest.raises(InputError, match=message) as caught:
        MetricX(str(tmp_path / "model"), tokenizer=str(folder / "tokenizer"))
    assert "\n" not in str(caught.value) and str(tmp_path / "model") in str(caught.value)


def test_weights_saved_as_safetensors_are_the_same(folder, metric, tmp_path):
    """A checkpoint with an output layer of its own keeps it if transformers 5 saves it."""
    network = MT5ForConditionalGeneration.from_pretrained(folder / "model")
    network.save_pretrained(tmp_path / "model")
    assert list((tmp_path / "model").glob("*.safetensors"))
    saved = MetricX(str(tmp_path / "model"), tokenizer=str(folder / "tokenizer"))
    assert saved.signature == metric.signature
    assert saved.score(SEGMENTS, 8192) == metric.score(SEGMENTS, 8192)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: None, "no tokenizer of mT5, which has a file spiece.model .*; use google/mt5-xl"),
        (lambda folder: build_tokenizer(folder, last=600), "it has 600 pieces, .*; use google/mt5-xl"),
        (lambda folder: build_tokenizer(folder, last=SCORE_TOKEN), "it has 250089 pieces"),
        (lambda folder: (folder / "spiece.model").write_text("no model"), "spiece.model is damaged"),
    ],
)
def test_another_tokenizer_is_refused_in_one_line(folder, tmp_path, write, message):
    (tmp_path / "tokenizer").mkdir()
    write(tmp_path / "tokenizer")
    with pytest.raises(InputError, match=message) as caught:
        MetricX(str(folder / "model"), tokenizer=str(tmp_path / "tokenizer"))
    assert "\n" not in str(caught.value)


def test_a_tokenizer_with_more_pieces_than_the_network_is_refused(folder, tmp_path):
    tiny_metricx.save(build_model_with(SCORE_TOKEN + 1), tmp_path / "model")
    with pytest.raises(InputError, match="250100 pieces, for a network with a vocabulary of 250090"):
        MetricX(str(tmp_path / "model"), tokenizer=str(folder / "tokenizer"))


def build_model_with(vocabulary: int) -> MT5ForConditionalGeneration:
    """Return a network with an output layer of its own and a vocabulary of another size."""
    network = MT5ForConditionalGeneration(small_config(vocabulary))
    network.lm_head.weight = torch.nn.Parameter(torch.randn_like(network.shared.weight))
    return network


def test_lower_is_better_by_the_kind_of_the_metric_not_by_its_name():
    assert is_lower_better("OTR", []) and is_lower_better("M", ["M"])
    assert not is_lower_better("MetricX", ["M"])


@pytest.mark.parametrize("reference", [True, False])
def test_the_step_writes_scores_as_they_are(folder, metric, metric_without, tmp_path, reference):
    for name, column in (("it-nl.src", 0), ("it-nl", 1), ("it-nl.ref", 2)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{segment[column]}\n" for segment in SEGMENTS))
    command = [sys.executable, "-m", "workflow_scripts.score_learned", "--name", "M", "--kind", "metricx"]
    command += [
        "--model",
        folder / "model",
        "--tokenizer",
        folder / "tokenizer",
        *(["--reference"] if reference else []),
    ]
    command += ["--hypotheses", tmp_path, "--test", tmp_path, "--directions", "it-nl", "--cache", tmp_path / "cache"]
    command += ["--lines", tmp_path / "lines.tsv", "--output", tmp_path / "out.tsv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    expected = (metric if reference else metric_without).score(SEGMENTS, 8192)
    lines = [float(row["score"]) for row in read_table(tmp_path / "lines.tsv")]
    assert lines == pytest.approx(expected, abs=2e-4)
    (row,) = read_table(tmp_path / "out.tsv")
    assert float(row["value"]) == pytest.approx(sum(expected) / len(expected), abs=2e-4)
    assert (row["metric"], row["n"]) == ("M", str(len(SEGMENTS)))
    assert row["signature"] == (metric if reference else metric_without).signature


def test_the_cache_distinguishes_everything_that_changes_scores(folder, tmp_path):
    def key(kind: str, *more: str | Path) -> str:
        words = ["--name", "M", "--kind", kind, "--model", folder / "model", *more, "--hypotheses", "h", "--test", "t"]
        words += ["--directions", "it-nl", "--cache", "c", "--lines", "l", "--output", "o"]
        return json.dumps(cache_key(make_parser().parse_args(list(map(str, words)))), sort_keys=True)

    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    tokenizer = ("--tokenizer", tmp_path / "tokenizer")
    keys = [key("metricx", *tokenizer)]
    for more in (["--reference"], ["--dtype", "bf16"], ["--tokenizer-revision", "r"], ["--revision", "r"]):
        keys.append(key("metricx", *tokenizer, *more))
    with (tmp_path / "tokenizer" / "spiece.model").open("ab") as handle:
        handle.write(tiny_metricx.field(1, tiny_metricx.field(1, b"one more piece")))
    keys += [key("metricx", *tokenizer), key("metricx"), key("bleurt")]
    assert len(set(keys)) == len(keys)
    # Scores of earlier versions of the workflow are kept.
    assert list(json.loads(keys[-1])) == ["kind", "model", "revision", "weights"]


def test_load_metric_loads_metricx(folder, metric):
    settings = {"tokenizer": str(folder / "tokenizer"), "revision": None, "shape": None, "reference": True}
    loaded = load_metric("metricx", str(folder / "model"), settings)
    assert loaded.signature == metric.signature

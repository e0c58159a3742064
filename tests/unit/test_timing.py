"""The versions that the timing code compares compute the same result; their times are not tested."""

import json
import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from timing import batches, evaluation, preference_losses, profile_step, scale, train_step
from workflow_scripts.lat.data.lid import PY3LANGID, load_identifier
from workflow_scripts.lat.decoding.transformers_engine import TransformersEngine
from workflow_scripts.lat.files import InputError, read_lines, write_jsonl
from workflow_scripts.lat.training.prefixes import _common_length
from workflow_scripts.lat.training.tokenizing import train_tokenizer


def test_the_training_steps_that_are_compared_have_the_same_gradients():
    assert train_step.check_equal("tiny") < 1e-4


# What TRL 1.16.0 computes: the column TRL of `make trl && python -m timing.preference_losses`.
OF_TRL = {
    "orpo, whole": 5.949502,
    "orpo, preference loss alone": 0.298042,
    "cpo, whole": 7.491320,
    "cpo, preference loss alone": 1.943017,
    "dpo": 0.784192,
}


@pytest.mark.parametrize("case", preference_losses.CASES, ids=lambda case: case[0])
def test_the_preference_losses_are_those_of_trl(case, tmp_path):
    preference_losses.prepare(tmp_path)
    assert preference_losses.run_workflow(tmp_path, case)["loss"] == pytest.approx(OF_TRL[case[0]], rel=1e-5)


def test_directions_that_share_batches_have_the_text_of_those_that_do_not(tmp_path):
    tokenizer = train_tokenizer(["a b c d e f"] * 5, 290)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    engine = TransformersEngine(LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)), tokenizer)
    for direction in ("it-nl", "nl-it"):
        rows = [{"prompt": f"{direction} {text}", "prompt_language": "en"} for text in ("a b", "c", "d")]
        write_jsonl(tmp_path / f"{direction}.jsonl", rows)
    requests = batches.read_requests(tmp_path, 2)
    assert [request.group for request in requests] == ["it-nl", "it-nl", "nl-it", "nl-it"]
    assert batches.measure(engine, tokenizer, requests, 1)["identical_lines"] == 1
    with pytest.raises(InputError, match=r"no prompts in .*run `make demo`"):
        batches.read_requests(tmp_path / "nothing", 2)


def test_the_kinds_of_operations_of_a_step_are_all_of_its_time():
    # In a process of its own, as the command runs it: the engine leaves its rank in the environment.
    command = [sys.executable, "-m", "timing.profile_step", "--one", "tiny", "--steps", "1", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert found["shares"]["matrix products"] > 0.1 and found["shares"]["other"] < 0.2
    kinds = {"aten::mm": "matrix products", "aten::_fused_adamw_": "optimizer", "aten::copy_": "copies and zeros"}
    assert {name: profile_step.kind_of(name) for name in kinds} == kinds


def test_every_layout_of_the_sequences_has_the_same_loss():
    module = train_step.ResponseLoss(train_step.build("tiny"), train_step.ALPHA)
    samples = train_step.draw_batch("tiny", 6000, seed=1)
    losses = [train_step.workflow_loss(module, samples, layout).item() for layout in ("rows", "padded", "tree")]
    assert max(losses) - min(losses) < 1e-5 * losses[0]


@pytest.mark.parametrize("name", train_step.BATCHES)
def test_prompts_have_in_common_what_those_of_a_benchmark_have_in_common(name):
    lengths = train_step.BATCHES[name]
    batches = [train_step.draw_batch(name, 6000, seed) for seed in range(5)]
    prompts = [sample.prompt for batch in batches for sample in batch]
    assert _common_length(prompts) == lengths.beginning
    for batch in batches:
        assert len(batch) == lengths.samples
        for sample in batch:
            if lengths.conflicts:
                assert len(sample.conflict) == len(sample.prompt)
                assert sample.conflict != sample.prompt


def test_the_parts_of_the_evaluation_that_are_compared_are_equal(tmp_path):
    """Each comparison fails if they are not."""
    scale.make_outputs(tmp_path, ["en", "de"], 12)
    references = read_lines(tmp_path / f"test/{evaluation.DIRECTION}.ref.txt")
    hypotheses = [read_lines(tmp_path / f"decode/{name}/{evaluation.DIRECTION}.txt") for name in scale.SYSTEMS]
    assert evaluation.compare_statistics(hypotheses, references, 1).keys() == {"plain_s", "fast_s", "ratio"}
    assert evaluation.compare_scores(hypotheses, references, 1).keys() == {"plain_s", "fast_s", "ratio"}
    identifier = load_identifier(PY3LANGID)
    assert evaluation.compare_identifiers(identifier, [line for lines in hypotheses for line in lines], 1)
    assert evaluation.compare_tables(evaluation.make_block(5), 1)
    with pytest.raises(InputError, match="not those of SacreBLEU"), patch.object(evaluation, "line_statistics", zeros):
        evaluation.compare_statistics(hypotheses, references, 1)


def zeros(metric, hypotheses, references):
    return np.zeros((len(hypotheses), 3))


def test_made_up_outputs_are_the_same_every_time_and_differ_between_systems(tmp_path):
    for name in ("one", "other"):
        assert scale.make_outputs(tmp_path / name, ["en", "zh", "ru"], 20) == [
            "en-zh", "en-ru", "zh-en", "zh-ru", "ru-en", "ru-zh",
        ]  # fmt: skip
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.txt"))
    assert len(files) == 6 * (2 + len(scale.SYSTEMS))
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes() for file in files)
    systems = {(tmp_path / f"one/decode/{name}/zh-ru.txt").read_bytes() for name in scale.SYSTEMS}
    assert len(systems) == len(scale.SYSTEMS)


def test_the_exponent_is_1_if_twice_as_many_lines_take_twice_as_long():
    sizes = [{"lines": lines, "seconds": 3 * lines, "cpu_s": lines**1.5} for lines in (800, 400, 200)]
    assert scale.exponent(sizes, "seconds") == pytest.approx(1)
    assert scale.exponent(sizes, "cpu_s") == pytest.approx(1.5)

"""The real vLLM gives the text of transformers; `make vllm` sets up its environment."""

import os
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from workflow_scripts.lat.files import read_table, write_jsonl
from workflow_scripts.lat.training.tokenizing import train_tokenizer

PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
DIRECTIONS = ("it-nl", "nl-it")
LINES = 40

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="run `make vllm`")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a random model, whose outputs end at different places, and prompts of two directions."""
    folder = tmp_path_factory.mktemp("vllm")
    letters = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    tokenizer = train_tokenizer([letters] * 5, 300)
    torch.manual_seed(0)
    # The attention of vLLM on CPUs needs heads of at least 32 dimensions.
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 2
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    generator = torch.Generator().manual_seed(1)
    for direction in DIRECTIONS:
        rows = []
        for _ in range(LINES):
            words = torch.randint(0, 26, (int(torch.randint(1, 12, (1,), generator=generator)),), generator=generator)
            text = f"translate {direction}: " + " ".join(letters.split()[word] for word in words)
            rows.append({"prompt": text, "contrasts": [], "prompt_language": "en"})
        write_jsonl(folder / "prompts" / f"{direction}.jsonl", rows)
    return folder


def decode(python, folder, engine, *settings):
    name = "-".join([engine, *settings])
    command = [python, "-m", "workflow_scripts.decode", "--model", folder / "model", "--engine", engine]
    command += ["--prompts", folder / "prompts", "--directions", *DIRECTIONS, "--max-new-tokens", "16"]
    command += ["--batch-tokens", "2000", "--output", folder / name, "--unfinished", folder / f"{name}-unfinished"]
    # The memory that vLLM reserves on a CPU, in GB.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command), *settings], env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr[-4000:]
    # A random model may write characters that a text file of the workflow must not have.
    lines = [
        line for direction in DIRECTIONS for line in (folder / name / f"{direction}.txt").read_bytes().split(b"\n")[:-1]
    ]
    return lines, read_table(folder / name / "counts.tsv")


@pytest.mark.parametrize("settings", [("--beam=1",), ("--beam=4",)])
def test_vllm_gives_the_text_of_transformers(folder, settings):
    expected, counts = decode(sys.executable, folder, "transformers", *settings)
    found, found_counts = decode(PYTHON, folder, "vllm", *settings)
    assert len(expected) == len(DIRECTIONS) * LINES
    assert len(set(expected)) > LINES / 2, "the test needs different outputs"
    assert len({len(line) for line in expected}) > 3, "the test needs outputs that end at different places"
    # Both compute in fp32, but add in another order, which can decide between two hypotheses of nearly the same score.
    assert sum(one == other for one, other in zip(expected, found, strict=True)) >= 0.98 * len(expected)
    if found == expected:
        assert found_counts == counts


def test_a_model_that_vllm_cannot_run_is_one_clear_error(folder, tmp_path):
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    for path in (folder / "model").glob("tokenizer*"):
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "prompts").symlink_to(folder / "prompts")
    with pytest.raises(AssertionError, match=r"error: .*vLLM cannot run this model .*; choose another engine"):
        decode(PYTHON, tmp_path, "vllm", "--beam=1")

"""The real vLLM gives the text of transformers; `make vllm` sets up its environment."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from workflow_scripts.lat.files import fold, read_lines, read_table, write_jsonl, write_lines
from workflow_scripts.lat.models import load_model, load_tokenizer
from workflow_scripts.lat.prompts.prompting import translation_instruction
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


def environment():
    # The memory that vLLM reserves on a CPU, in GB.
    return os.environ | {"PYTHONPATH": str(ROOT), "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}


def decode(python, folder, engine, *settings):
    name = "-".join([engine, *settings])
    command = [python, "-m", "workflow_scripts.decode", "--model", folder / "model", "--engine", engine]
    command += ["--prompts", folder / "prompts", "--directions", *DIRECTIONS, "--max-new-tokens", "16"]
    command += ["--batch-tokens", "2000", "--output", folder / name, "--unfinished", folder / f"{name}-unfinished"]
    done = subprocess.run([*map(str, command), *settings], env=environment(), capture_output=True, text=True)
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


CHAT = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture
def chat_model(folder, tmp_path):
    """The folder of the model with a chat template, whose outputs are letters."""
    model, tokenizer = load_model(folder / "model", "fp32"), load_tokenizer(folder / "model")
    letters = [number for number in range(len(tokenizer)) if tokenizer.decode([number]).strip().isalpha()]
    with torch.no_grad():
        # Parts of characters would be other text where they are decoded one by one.
        others = sorted({*range(len(tokenizer))} - {*letters, tokenizer.eos_token_id})
        model.lm_head.weight[others] = 0
        model.lm_head.weight[tokenizer.eos_token_id] /= 2  # most of these outputs would be empty otherwise
    tokenizer.chat_template = CHAT
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def served(chat_model, tmp_path):
    """The URL of a `vllm serve` with this model, under the name `tiny`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    # What `vllm serve` starts; the command itself needs a package of the name `vllm`, and that for CPUs has another.
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", chat_model, "--dtype", "float32"]
    command += ["--served-model-name", "tiny", "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--max-model-len", "256"]
    log = tmp_path / "vllm.log"
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("w") as handle:
        running = subprocess.Popen(
            list(map(str, command)),
            env=environment() | offline,
            stdout=handle,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 600  # seconds; a busy machine needs minutes to import vLLM
        while not answers(f"{address}/health"):
            assert running.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(1)
        yield f"{address}/v1"
    finally:
        # With its own processes, which would outlive it if it were killed alone.
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_a_system_on_a_real_server_has_the_text_of_transformers(folder, chat_model, served, tmp_path):
    model, tokenizer = load_model(chat_model, "fp32"), load_tokenizer(chat_model)
    expected = {}
    for direction in DIRECTIONS:
        rows = (folder / "prompts" / f"{direction}.jsonl").read_text().splitlines()
        sources = [row.partition(": ")[2].partition(": ")[2].partition('"')[0] for row in rows]
        write_lines(tmp_path / "test" / f"{direction}.src.txt", sources)
        for number, source in enumerate(sources):
            message = {"role": "user", "content": f"{translation_instruction(direction)}\n\n{source}"}
            text = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
            prompt = tokenizer(text, return_tensors="pt", add_special_tokens=False)
            output = model.generate(**prompt, do_sample=False, max_new_tokens=16)[0, prompt["input_ids"].shape[1] :]
            expected[direction, number] = fold(tokenizer.decode(output, skip_special_tokens=True))
    command = [sys.executable, "-m", "workflow_scripts.translate", "--system", "vLLM", "--base-url", served]
    command += ["--model", "tiny", "--request", '{"max_tokens": 16, "temperature": 0}', "--parallel", "4"]
    command += ["--test", tmp_path / "test", "--directions", *DIRECTIONS]
    command += ["--journal", tmp_path / "journal", "--output", tmp_path / "out"]
    done = subprocess.run(list(map(str, command)), env=environment(), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    found = {
        (direction, number): line
        for direction in DIRECTIONS
        for number, line in enumerate(read_lines(tmp_path / "out" / f"{direction}.txt"))
    }
    assert found.keys() == expected.keys() and len(found) == len(DIRECTIONS) * LINES
    assert len(set(expected.values())) > 0.8 * len(expected), "the test needs different outputs"
    # Both compute in fp32, but add in another order: where two tokens have nearly the same probability, either may be
    # the more likely one, and the rest of the line is another one then.
    same = sum(found[place] == line for place, line in expected.items())
    assert same >= 0.9 * len(expected), f"{same} of {len(expected)} lines are the same"
    cut = sum(int(row["truncated"]) for row in read_table(tmp_path / "out" / "counts.tsv"))
    assert 0 < cut < len(found), "the test needs outputs that end at different places"
    assert f"{cut} of {len(found)} replies end at the maximum number of tokens" in done.stderr

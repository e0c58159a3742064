"""Text of the config reaches scripts as it is, and is never run by the shell."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from workflow_scripts.lat.data.lid import FASTTEXT_MAGIC
from workflow_scripts.lat.training.tokenizing import train_tokenizer

# A file name, and what would make a file called `hit` if a shell ever ran it.
HOSTILE = """q$(touch hit)`touch hit`; touch hit # 'a" \\b é"""


@pytest.fixture
def overlay(tmp_path) -> dict:
    """A config with hostile text wherever it may hold text."""
    folder = tmp_path / HOSTILE
    folder.mkdir()

    def file(name: str, content: bytes = b"{}") -> str:
        (folder / name).write_bytes(content)
        return str(folder / name)

    torch.manual_seed(0)
    tokenizer = train_tokenizer(["the quick brown fox"] * 5, 300)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    instructions = file("set.jsonl", b'{"instruction": "Say it.", "output": "It."}\n')
    for language in ("en", "de", "fr"):
        file(f"text.{language}", b"one\ntwo\n")
    text = {"local": [str(folder / "text")]}
    deepspeed = file("engine.json", json.dumps({"csv_monitor": {"job_name": HOSTILE}}).encode())
    systems = ["MT", "Post-ins", "LAT", "5-shot"]
    return {
        "experiments": [
            {"base_model": name, "benchmark": benchmark, "systems": systems}
            for name, benchmark in (("tiny", "demo"), ("mine", "own"), ("hubs", "own"), ("quantised", "own"))
        ],
        "benchmarks": {
            "own": {
                "languages": ["en", "de", "fr"],
                "supervised": ["en-de", "de-en"],
                "zero_shot": ["de-fr"],
                "corpora": {"train": text, "test": text, "demonstrations": text},
                "train_rows": 1,
                "demonstrations": 5,
            }
        },
        "base_models": {
            "tiny": {"deepspeed": deepspeed},
            "mine": {"path": str(folder / "model"), "deepspeed": deepspeed},
            "hubs": {"hub": "a/b", "revision": HOSTILE, "deepspeed": deepspeed},
            "quantised": {"gguf": [file("model.gguf", b"GGUF")], "deepspeed": deepspeed},
        },
        "models": {"mt": {"mix": [instructions]}},
        "detect": {"lid": [file("lid.bin", FASTTEXT_MAGIC), "py3langid"]},
        "score": {
            "learned": {
                "B": {"kind": "bleurt", "model": str(folder), "revision": HOSTILE, "python": file("python")},
                "M": {"kind": "metricx", "model": str(folder), "revision": HOSTILE, "tokenizer": str(folder)}
                | {"tokenizer_revision": HOSTILE, "reference": False},
            }
        },
        "judge": {
            "comparisons": [{"system": "LAT", "baseline": "MT"}],
            "instructions": instructions,
            "model": HOSTILE,
            "base_url": "http://127.0.0.1/$(touch$IFS$9hit)",
            "request": {"stop": HOSTILE},
            "key": None,
        },
    }


def test_no_text_of_the_config_is_run_by_the_shell(tmp_path, overlay):
    path = tmp_path / "overlay.yaml"
    path.write_text(yaml.safe_dump(overlay, allow_unicode=True), encoding="utf-8")
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    words += ["--dry-run", "--printshellcmds", "--configfile", str(path)]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    ends = r"(?=\n+\[\w{3} \w{3} |\n+rule all:|\n+Job stats:)"
    commands = re.findall(rf"^Shell command: (.*?){ends}", done.stdout, re.MULTILINE | re.DOTALL)
    rules = {re.sub(r".*workflow_scripts\.(\w+).*", r"\1", command, flags=re.DOTALL) for command in commands}
    assert {"download", "base_model", "finetune", "detect", "score_learned", "judge", "page"} <= rules

    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("python", "torchrun", "tee", "cp"):
        (programs / name).write_text("#!/bin/sh\ncat > /dev/null < /dev/null\n")
        (programs / name).chmod(0o755)
    (tmp_path / HOSTILE / "python").write_text("#!/bin/sh\n")
    (tmp_path / HOSTILE / "python").chmod(0o755)
    script = tmp_path / "commands.sh"
    script.write_text("".join(f"{command}\n" for command in commands if command != "None"), encoding="utf-8")
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    ran = subprocess.run(["bash", str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0 and not ran.stderr, ran.stderr[-2000:]
    assert not (tmp_path / "hit").exists()

    # Every hostile text is one word, or the beginning or end of one.
    for command in commands:
        for word in shlex.split(command):
            if "touch hit" in word and not word.startswith(("{", "-")) and "\n" not in word:
                assert HOSTILE in word, word

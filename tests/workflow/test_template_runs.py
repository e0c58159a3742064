"""All steps with prompts in a chat template, in a template from a file, and in the published layout."""

import json

import pytest
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.unit.chat_templates import END_OF_TURN, chat_tokenizer
from tests.workflow.conftest import Run
from workflow_scripts.lat.files import read_jsonl

SYSTEMS = ["Base", "MT", "Post-ins", "PTL", "1-shot", "C_src+lang", "LAT"]
FILE = """\
{%- for message in messages %}
    {%- if message.role == 'user' %}{{- 'Q: ' + message.content + '\\nA: ' }}
    {%- else %}{{- message.content + '\\n' }}{% endif %}
{%- endfor %}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a random chat model of the kind of Llama 3."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    tokenizer = chat_tokenizer("llama3")
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=2048, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **shape,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def overlay(model, template, **settings):
    return {
        "seeds": [1],
        "experiments": [{"base_model": "chat", "benchmark": "demo", "systems": SYSTEMS}],
        "base_models": {
            "chat": {
                "path": str(model), "template": str(template), "dtype": "fp32", "mem_mb": 2000,
                "deepspeed": "configs/deepspeed/cpu.json", "finetune": {"epochs": 1, "max_length": 1024},
                "unlikelihood": {"steps": 2, "max_length": 1024, "conflicts": "target"},
                "decode": {"engine": "ctranslate2", "early_stopping": True, "beam": 2, "max_new_tokens": 4},
            } | settings
        },
    }  # fmt: skip


def test_a_chat_template(tmp_path, model):
    run = Run(tmp_path)
    run.snakemake("--cores", "2", overlay=overlay(model, "chat", system_message="Be\n{brief}."))
    prompts, end = run.folder / "results/prompts/chat/demo", END_OF_TURN["llama3"]
    for system in SYSTEMS:
        for row in read_jsonl(prompts / "test" / system / "it-nl.jsonl"):
            text = "".join(row["prompt"])
            assert text.count("Be\n{brief}.") == 1 and row["end"] == end and row["marks"] == []
            assert text.count("<|start_header_id|>assistant") == 1 + (system == "1-shot")
            assert ("Vertaal" in text) == (system == "PTL")
            assert len(row["contrasts"]) == 2 * (system == "C_src+lang")
        seed = "shared" if system == "Base" else "seed1"
        assert run.text(f"decode/chat/demo/{seed}/{system}/it-nl.txt").count("\n") == 12
    (sample, *_) = read_jsonl(run.folder / "results/conflicts/chat/demo/seed1/lat.jsonl")
    assert "".join(sample["conflict"]) != "".join(sample["prompt"]) and sample["conflict"][-1] == sample["prompt"][-1]
    trained = run.folder / "results/unlikelihood/chat/demo/seed1/lat/model"
    tokenizer = PreTrainedTokenizerFast.from_pretrained(trained)
    ends = json.loads((trained / "generation_config.json").read_text())["eos_token_id"]
    assert tokenizer.convert_ids_to_tokens(ends) == [end, "</s>"]
    assert "a response ends with <|eot_id|> or </s>" in run.text("base_model/chat/check.txt")
    # Another system message makes the prompts again, and what follows from them; the model is not fetched again.
    planned = run.planned(overlay(model, "chat", system_message="Be exact.") | {"replace": True})
    assert planned["train_prompts"] == 2 and planned["test_prompts"] == len(SYSTEMS) and planned["conflicts"] == 1
    assert "fetch_base_model" not in planned
    # A check that runs again hides changes of other jobs from Snakemake, whether it trains or only decodes.
    changed = overlay(model, "chat", system_message="Be\n{brief}.") | {"replace": True}
    changed["base_models"]["chat"]["decode"]["engine"] = "transformers"
    changed["base_models"]["chat"]["finetune"]["learning_rate"] = 1e-3
    stopped = run.snakemake("--cores", "2", overlay=changed, check=False)
    assert stopped.returncode and "run the same command with `--until check_base_model` first" in stopped.stderr
    run.snakemake("--cores", "2", "--until", "check_base_model", overlay=changed)
    planned = run.planned(changed)
    assert planned["finetune"] == 2 and planned["decode"] == len(SYSTEMS)


def test_a_template_from_a_file_that_changes(tmp_path, model):
    run = Run(tmp_path)
    file = tmp_path / "own.jinja"
    file.write_text(FILE)
    target = "results/prompts/chat/demo/test/1-shot"
    run.snakemake("--cores", "2", target, overlay=overlay(model, file))
    (row, *_) = read_jsonl(tmp_path / target / "it-nl.jsonl")
    text = "".join(row["prompt"])
    assert text.startswith("Q: Translate the following sentences from Italian to Dutch.\n\n")
    assert text.endswith("\nA: ") and text.count("\nQ: ") == 1
    assert row["marks"] == ["\nQ:"] and "end" not in row
    file.write_text(FILE.replace("Q: ", "Question: "))
    run.snakemake("--cores", "2", target, overlay=overlay(model, file) | {"replace": True})
    (row, *_) = read_jsonl(tmp_path / target / "it-nl.jsonl")
    assert "".join(row["prompt"]).startswith("Question: ")


def test_a_model_whose_template_cannot_be_used_stops_before_any_prompt(tmp_path, model):
    # As a model of the hub, whose files are not there when the config is checked.
    tokenizer = chat_tokenizer("llama3")
    tokenizer.chat_template = "{{ messages[0].role }}"
    LlamaForCausalLM.from_pretrained(model).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    run = Run(tmp_path / "run")
    targets = ["results/base_model/chat/check.txt", "results/finetune/chat/demo/seed1/mt/model"]
    done = run.snakemake(
        "--cores", "2", "--keep-going", *targets, overlay=overlay(tmp_path / "model", "chat"), check=False
    )
    assert done.returncode
    log = run.text("base_model/logs/chat-check.log")
    assert "the template leaves out a text, or repeats it; use another template" in log
    assert "the template leaves out a text" in run.text("prompts/logs/chat-demo-seed1-mt.log")
    assert not list(run.folder.glob("results/prompts/chat/demo/*/*.jsonl"))


def test_the_published_layout(tmp_path):
    run = Run(tmp_path)
    changes = {"seeds": [1], "base_models": {"tiny": {"template": "alpaca", "preamble": True}}}
    changes["systems"] = {"1-shot": {"shots_layout": "each"}}
    lat = "results/unlikelihood/tiny/demo/seed1/lat/model"
    shots = "results/decode/tiny/demo/seed1/1-shot"
    run.snakemake("--cores", "2", lat, shots, overlay=changes)
    (row, *_) = read_jsonl(tmp_path / "results/prompts/tiny/demo/test/1-shot/it-nl.jsonl")
    assert row["prompt"].count("Below is an instruction") == 2 and row["prompt"].endswith("\n\n### Response:")
    (sample, *_) = read_jsonl(tmp_path / "results/conflicts/tiny/demo/seed1/lat.jsonl")
    assert (
        sample["joined"] and sample["prompt"].endswith("### Response:") and sample["conflict"].endswith("### Response:")
    )

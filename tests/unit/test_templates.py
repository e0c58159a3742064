"""Templates in the config: one line for each mistake; and the check of a base model before it is used."""

import json
import sys

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from tests.unit.chat_templates import QWEN3, chat_tokenizer
from tests.unit.configs import load_config, put
from workflow_scripts import base_model
from workflow_scripts.lat.config import check_config
from workflow_scripts.lat.config.base_models import check_base_models
from workflow_scripts.lat.files import InputError

HUB = {"hub": "a/b", "deepspeed": "configs/deepspeed/cpu.json"}


def mine(**settings):
    return put("base_models.mine", HUB | settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            mine(template="alpacca"),
            "mine.template: `alpacca` is not among the templates, nor a file; did you mean `alp",
        ),
        (mine(template="no.jinja"), "mine.template: `no.jinja` is not among the templates, nor a file; known: alpaca"),
        (mine(template="README.md", system_message="x"), None),
        (
            mine(system_message="Be brief."),
            "mine.system_message is for chat templates; set `template: chat`, or remove",
        ),
        (mine(template="alpaca", template_options={"a": 1}), "mine.template_options is for chat templates"),
        (
            mine(template="chat", template_options={"messages": []}),
            "mine.template_options.messages: the workflow sets this variable itself; remove it",
        ),
        (mine(template="chat", system_message="- no"), "system_message: .*write a text that does not begin with"),
        (mine(template="chat", system_message="Two\nlines with {braces}.", template_options={"a": {"b": "{c}"}}), None),
        (
            put("base_models.tiny.template", "chat"),
            "tiny.template: the tokenizer of a model that the workflow builds is",
        ),
        (put("base_models.tiny.template", "alpaca"), None),
        (put("systems.1-shot.shots_layout", "twice"), "1-shot.shots_layout: `twice` is not among .*; known: once each"),
        (put("benchmarks.demo.demonstration_choice", "first"), "demonstration_choice is for `corpora`; rows of catal"),
        (
            put("benchmarks.iwslt4.demonstration_choice", "last"),
            "choice: `last` is not among .*; known: drawn first",
        ),
        (put("models.mt.translations_only", True), "unknown key `translations_only` in models.mt"),
    ],
)
def test_a_mistake_is_one_line_before_any_job(change, message):
    config = load_config()
    change(config)
    if message is None:
        check_config(config, ROOT)
        return
    with pytest.raises(InputError, match=message) as caught:
        check_config(config, ROOT)
    assert "\n" not in str(caught.value)


def check_template_file(tmp_path, text):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "own.jinja").write_text(text)
    models = {"mine": HUB | {"template": "own.jinja"}}
    check_base_models({"base_models": models, "accept_licences": [], "benchmarks": {}}, tmp_path, [])


def test_a_file_is_compiled_when_the_config_is_checked(tmp_path):
    with pytest.raises(InputError, match=r"base_models.mine.template: own.jinja: line 2: .*; correct it"):
        check_template_file(tmp_path, "a\n{% for %}")


@pytest.fixture
def folder(tmp_path):
    """A model folder with a chat template."""
    tokenizer = chat_tokenizer("qwen3")
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def check_path(folder):
    models = {"mine": {"path": str(folder), "template": "chat", "deepspeed": "configs/deepspeed/cpu.json"}}
    check_base_models({"base_models": models, "accept_licences": [], "benchmarks": {}}, ROOT, [])


def test_a_local_model_without_a_chat_template_is_found_when_the_config_is_checked(folder):
    check_path(folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(
        InputError, match=r"mine.template: the tokenizer of `.*/model` has no chat template; set alpaca"
    ):
        check_path(folder)
    # Models of older versions have the template in the settings of the tokenizer.
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": QWEN3}))
    check_path(folder)


def run_check(monkeypatch, folder, *flags):
    words = ["check", "--model", folder, "--attention", "sdpa", "--engines", "transformers", *flags]
    monkeypatch.setattr(sys, "argv", ["base_model", *map(str, words), "--output", str(folder.parent / "check.txt")])
    base_model.main()
    return (folder.parent / "check.txt").read_text()


def test_the_check_of_a_base_model_shows_a_prompt_and_what_ends_a_response(monkeypatch, folder):
    shown = run_check(monkeypatch, folder, "--template", "chat", "--system-message", "Be brief.")
    assert "template: chat; a response ends with <|im_end|> or </s>\n<|im_start|>system\nBe brief.<|im_end|>" in shown
    assert "<|im_start|>assistant\nGood morning.<|im_end|>" in shown
    assert "template: alpaca; a response ends with </s>\n" in run_check(monkeypatch, folder, "--template", "alpaca")
    assert len(run_check(monkeypatch, folder).splitlines()) == 1


def test_the_check_refuses_a_model_that_has_no_chat_template(monkeypatch, folder):
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="its tokenizer has no chat template, which `template: chat` needs"):
        run_check(monkeypatch, folder, "--template", "chat")
    assert not (folder.parent / "check.txt").exists()


def test_the_check_refuses_a_template_that_does_not_know_the_system(monkeypatch, folder):
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('No system role') }}{% endif %}" + QWEN3
    (folder / "chat_template.jinja").write_text(refusing)
    run_check(monkeypatch, folder, "--template", "chat")
    with pytest.raises(InputError, match=r"with the turns system, user.* \(No system role\); change `system_message`"):
        run_check(monkeypatch, folder, "--template", "chat", "--system-message", "Be brief.")

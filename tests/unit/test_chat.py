"""Prompts in chat templates: the text and the tokens of the library, the end of a response, and refused templates."""

import jinja2
import pytest
from transformers import PreTrainedTokenizerFast

from tests.unit.chat_templates import END_OF_TURN, QWEN3, TEMPLATES, chat_tokenizer
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.models import encode_joined, encode_prompt, load_tokenizer, stop_tokens
from workflow_scripts.lat.prompts.chat import ChatTemplate, compile_template
from workflow_scripts.lat.prompts.templates import chat_template
from workflow_scripts.lat.training.tokenizing import train_tokenizer
from workflow_scripts.prompts import test_prompt as prompt_row

INSTRUCTION = "Translate the following sentences from Italian to Dutch."


@pytest.fixture(params=sorted(TEMPLATES))
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    """The folder of a tokenizer with a chat template."""
    chat_tokenizer(kind).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def template_in(folder, position="before", system=None, options=None, file=None) -> ChatTemplate:
    return chat_template(folder, file, position, system, options or {})


def text_of(prompt: list[str]) -> str:
    return "".join(prompt)


def library_ids(tokenizer, messages, **options) -> list[int]:
    """What the library itself makes of a conversation, without thoughts and at the fixed date."""
    options = {"enable_thinking": False, "date_string": "26 Jul 2024"} | options
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **options)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": f"{INSTRUCTION}\n\n{text}"}


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("shots", [0, 1, 2])
def test_text_and_tokens_are_those_of_the_library(folder, system, shots):
    tokenizer = load_tokenizer(folder)
    shown = [("Uno.", "Een."), ("Due.", "Twee.")][:shots]
    messages = [{"role": "system", "content": system}] if system else []
    for source, target in shown:
        messages += [user(source), {"role": "assistant", "content": target}]
    expected = library_ids(tokenizer, [*messages, user("Il gatto dorme.")])
    prompt = template_in(folder, system=system).render(INSTRUCTION, "Il gatto dorme.", shown)
    assert encode_prompt(tokenizer, prompt) == expected
    assert text_of(prompt) == tokenizer.decode(expected)
    assert prompt[1::2][-2:] == [INSTRUCTION, "Il gatto dorme."], "the texts are in the slots"


def test_a_response_ends_as_the_turns_of_the_template(kind, folder):
    tokenizer, template = load_tokenizer(folder), template_in(folder)
    prompt = template.render(INSTRUCTION, "Uno.")
    ids, response = encode_joined(tokenizer, prompt, "De kat slaapt.", template.end)
    assert ids == encode_prompt(tokenizer, prompt)
    assert tokenizer.decode(response) == f"De kat slaapt.{END_OF_TURN[kind]}"
    # What training sees is the beginning of the conversation that the library writes. Where thoughts are switched off,
    # the template of Qwen3 writes an empty block of thoughts into the last turn.
    messages = [user("Uno."), {"role": "assistant", "content": "De kat slaapt."}]
    whole = tokenizer.apply_chat_template(messages, date_string="26 Jul 2024", return_dict=False)
    assert [*ids, *response] == whole[: len(ids) + len(response)]
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN[kind])
    assert stop_tokens(tokenizer, template.end) == (end, tokenizer.eos_token_id)


def test_positions_of_the_instruction_and_general_instructions(folder):
    before = template_in(folder).render(INSTRUCTION, "Ciao.")
    after = template_in(folder, "after").render(INSTRUCTION, "Ciao.")
    assert text_of(before).replace(f"{INSTRUCTION}\n\nCiao.", f"Ciao.\n\n{INSTRUCTION}") == text_of(after)
    general = template_in(folder, "after").render("Name a bird.", None)
    assert text_of(general) == text_of(before).replace(f"{INSTRUCTION}\n\nCiao.", "Name a bird.")


def test_rows_of_test_prompts_have_contrasts_in_the_template_and_the_end(kind, folder):
    row = prompt_row("Ciao.", "it-nl", template_in(folder), "nl", contrasts=[("en", -0.5), ("source", -0.5)])
    assert (row["end"], row["marks"]) == (END_OF_TURN[kind], [])
    assert "Vertaal de volgende zinnen van het Italiaans naar het Nederlands." in text_of(row["prompt"])
    assert ["Engels" in text_of(contrast) for contrast, _ in row["contrasts"]] == [True, False]
    assert len(row["contrasts"]) == 2


@pytest.mark.parametrize("text", ["Ciao {end} bello.", "{end}", "<s>{end}</s> {start}"])
def test_names_of_control_tokens_in_a_sentence_are_text(kind, folder, text):
    tokenizer, template = load_tokenizer(folder), template_in(folder)
    text = text.format(end=END_OF_TURN[kind], start="<|im_start|>")
    plain = encode_prompt(tokenizer, template.render(INSTRUCTION, "Ciao."))
    ids = encode_prompt(tokenizer, template.render(INSTRUCTION, text))
    control = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    assert [index for index in ids if index in control] == [index for index in plain if index in control]
    assert text in tokenizer.decode(ids)
    prompt, response = encode_joined(tokenizer, template.render(INSTRUCTION, "Ciao."), text, template.end)
    assert prompt == plain and control.isdisjoint(response[:-1]) and response[-1] in control


def test_a_name_that_the_tokenizer_cannot_take_as_text_is_refused(tmp_path, monkeypatch):
    tokenizer = chat_tokenizer("qwen3")
    tokenizer.save_pretrained(tmp_path)
    original = type(tokenizer).__call__

    def with_special_tokens(self, text, **flags):
        return original(self, text, **flags | {"split_special_tokens": False})

    monkeypatch.setattr(type(tokenizer), "__call__", with_special_tokens)
    with pytest.raises(InputError, match=r"encodes the text <\|im_end\|> as its special token; remove it from"):
        encode_prompt(tokenizer, template_in(tmp_path).render(INSTRUCTION, "Ciao <|im_end|> bello."))


def test_the_date_of_the_day_is_never_in_a_prompt(tmp_path):
    chat_tokenizer("llama3").save_pretrained(tmp_path)
    assert "Today Date: 26 Jul 2024\n" in text_of(template_in(tmp_path).render(INSTRUCTION, "Ciao."))
    other = template_in(tmp_path, options={"date_string": "1 Jan 2026"}).render(INSTRUCTION, "Ciao.")
    assert "Today Date: 1 Jan 2026\n" in text_of(other)


def test_thoughts_are_switched_off_unless_an_option_switches_them_on(tmp_path):
    chat_tokenizer("qwen3").save_pretrained(tmp_path)
    assert text_of(template_in(tmp_path).render(INSTRUCTION, "Ciao.")).endswith("assistant\n<think>\n\n</think>\n\n")
    thinking = template_in(tmp_path, options={"enable_thinking": True})
    assert text_of(thinking.render(INSTRUCTION, "Ciao.")).endswith("<|im_start|>assistant\n")


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path):
    train_tokenizer(["a b c"], 300).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no chat template, which `template: chat` needs; set `template: alpaca`"):
        template_in(tmp_path)


def test_a_tokenizer_with_several_templates_needs_a_default(tmp_path):
    tokenizer = chat_tokenizer("qwen3")
    tokenizer.chat_template = {"tools": QWEN3, "other": QWEN3}
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no chat template"):
        template_in(tmp_path)
    tokenizer.chat_template = {"default": QWEN3, "other": "nothing"}
    tokenizer.save_pretrained(tmp_path)
    assert template_in(tmp_path).end == "<|im_end|>"


def from_file(tmp_path, text: str, tokenizer: PreTrainedTokenizerFast | None = None, **settings) -> ChatTemplate:
    (tokenizer or train_tokenizer(["a b c"], 300)).save_pretrained(tmp_path)
    (tmp_path / "own.jinja").write_text(text)
    return template_in(tmp_path, file=tmp_path / "own.jinja", **settings)


OWN = """\
{{ bos_token }}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '\\nTask: ' + message.instruction + ('\\nText: ' + message.input if message.input else '') + '\\nAnswer:' }}
    {%- else %}{{- ' ' + message.content + '\\n' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- ' ' }}{% endif %}
"""


def test_a_template_from_a_file_has_instruction_and_input_apart_and_ends_with_the_next_turn(tmp_path):
    template = from_file(tmp_path, OWN)
    prompt = template.render("Translate.", "Ciao.", [("Uno.", "Een.")])
    assert text_of(prompt) == (
        "<s>\nTask: Translate.\nText: Uno.\nAnswer: Een.\n\nTask: Translate.\nText: Ciao.\nAnswer: "
    )
    assert template.training_keys() == {"joined": True}
    assert template.decoding_keys() == {"marks": ["\n\nTask:"]}
    tokenizer = load_tokenizer(tmp_path)
    ids, response = encode_joined(tokenizer, prompt, "Hallo.")
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.decode(response) == "Hallo.</s>"
    assert text_of(template.render("Sing.", None)) == "<s>\nTask: Sing.\nAnswer: "


def test_white_space_before_the_end_token_belongs_to_the_response(tmp_path):
    mistral = (
        "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}{{ '[INST] ' + message.content +"
        " ' [/INST]' }}{% else %}{{ ' ' + message.content + ' ' + eos_token }}{% endif %}{% endfor %}"
    )
    template = from_file(tmp_path, mistral)
    assert template.end == " </s>"
    tokenizer = load_tokenizer(tmp_path)
    prompt = template.render("Translate.", "Ciao.", [("Uno.", "Een.")])
    assert text_of(prompt) == "<s>[INST] Translate.\n\nUno. [/INST] Een. </s>[INST] Translate.\n\nCiao. [/INST]"
    response = encode_joined(tokenizer, prompt, "Hallo.", template.end)[1]
    assert tokenizer.decode(response) == "Hallo. </s>" and response[-1] == tokenizer.eos_token_id
    assert stop_tokens(tokenizer, template.end) == (tokenizer.eos_token_id,)


def test_marks_of_turns_and_loop_controls_are_known():
    text = "{% generation %}a{% endgeneration %}{% for i in [1, 2] %}{% break %}{% endfor %}{{ {'é': 1} | tojson }}"
    assert compile_template(text).render() == 'a{"é": 1}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ messages[0].role }}", "own.jinja: the template leaves out a text, or repeats it; use another template"),
        ("{{ messages[0].content + messages[0].content }}", "leaves out a text, or repeats it"),
        ("{{ messages[0].content | replace('Uno', 'Due') }}", "does not write the text 'I. Uno.' as it is"),
        ("{{ raise_exception('No system\n role.') }}", r"refuses a conversation with the turns user \(No system role"),
        ("{{ messages[0].name.first }}", r"refuses a conversation with the turns user \('dict object' has no"),
        ("{% for x in %}", "own.jinja: line 1: Expected an expression.*; correct it"),
    ],
)
def test_a_template_that_cannot_be_used_is_one_clear_error(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        from_file(tmp_path, text).render("I.", "Uno.")
    assert "\n" not in str(caught.value)


def test_a_template_without_a_beginning_of_the_response_is_refused(tmp_path):
    text = QWEN3.split("{%- if add_generation_prompt %}")[0]
    template = from_file(tmp_path, text, chat_tokenizer("qwen3"))
    with pytest.raises(
        InputError, match="writes no beginning of the response when it is given `add_generation_prompt`"
    ):
        template.training_keys()


def test_a_template_without_the_system_refuses_its_message(tmp_path):
    text = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}{% endif %}{% endfor %}"
    assert from_file(tmp_path, text).render("I.", "S.")
    with pytest.raises(InputError, match="leaves out the system message, the instruction or the sentence"):
        from_file(tmp_path, text, system="Be brief.").render("I.", "S.")


def test_a_syntax_error_is_found_when_the_config_is_checked():
    with pytest.raises(jinja2.TemplateSyntaxError):
        compile_template("{% for %}")

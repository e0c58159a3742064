"""The published template, its variants, and complete texts in all prompt languages."""

import hashlib

import pytest

from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.prompts.prompting import (
    Template,
    names_in,
    response_end_marks,
    template_pieces,
    translation_instruction,
    wordings,
)
from workflow_scripts.prompts import test_prompt as prompt_row

INSTRUCTION = "Translate the following sentences from Italian to Dutch."


def test_alpaca_template():
    assert Template().render(INSTRUCTION, "Ciao.") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{INSTRUCTION}\n\n### Input:\nCiao.\n\n### Response:\n"
    )


PUBLISHED = """\
Below is an instruction that describes a task, paired with an input that provides further context. Write a response \
that appropriately completes the request.

### Instruction:
Translate the following sentences from Italian to Dutch.

### Input:
Ciao.

### Response:"""
PUBLISHED_WITHOUT_INPUT = """\
Below is an instruction that describes a task. Write a response that appropriately completes the request.

### Instruction:
Name a bird.

### Response:"""
PUBLISHED_POST_INS = """\
Below is an instruction that describes a task, paired with an input that provides further context. Write a response \
that appropriately completes the request.

### Input:
Ciao.

### Instruction:
Translate the following sentences from Italian to Dutch.

### Response:"""
PUBLISHED_SHOTS = """\
Below is an instruction that describes a task, paired with an input that provides further context. Write a response \
that appropriately completes the request.

### Instruction:
Translate the following sentences from Italian to Dutch.

### Input:
Uno.

### Response:Een.
Below is an instruction that describes a task, paired with an input that provides further context. Write a response \
that appropriately completes the request.

### Instruction:
Translate the following sentences from Italian to Dutch.

### Input:
Due.

### Response:Twee.
Below is an instruction that describes a task, paired with an input that provides further context. Write a response \
that appropriately completes the request.

### Instruction:
Translate the following sentences from Italian to Dutch.

### Input:
Ciao.

### Response:"""


def test_the_published_layout():
    template = Template(layout="alpaca", shots_layout="each")
    assert template.render(INSTRUCTION, "Ciao.") == PUBLISHED
    assert template.render("Name a bird.", None) == PUBLISHED_WITHOUT_INPUT
    assert Template("after", layout="alpaca").render(INSTRUCTION, "Ciao.") == PUBLISHED_POST_INS
    assert template.render(INSTRUCTION, "Ciao.", [("Uno.", "Een."), ("Due.", "Twee.")]) == PUBLISHED_SHOTS


def test_the_layouts_differ_in_the_line_break_before_responses_alone():
    assert Template(layout="alpaca-lines").render(INSTRUCTION, "Ciao.") == PUBLISHED + "\n"
    shown = [("Uno.", "Een.")]
    lines = Template(layout="alpaca-lines").render(INSTRUCTION, "Ciao.", shown)
    assert Template(layout="alpaca").render(INSTRUCTION, "Ciao.", shown) == lines.replace("Response:\n", "Response:")


def test_only_the_layout_with_lines_adds_no_keys_to_its_files():
    lines, published = Template(), Template(layout="alpaca", shots_layout="each")
    assert prompt_row("Ciao.", "it-nl", lines).keys() == {"prompt", "contrasts"}
    assert lines.training_keys() == {} and published.training_keys() == {"joined": True}
    for language in ("en", "nl"):
        marks = prompt_row("Ciao.", "it-nl", published, language)["marks"]
        again = published.render(INSTRUCTION, "Ciao.", [("Uno.", "Een.")], language).partition("Een.")[2]
        assert any(again.startswith(mark) for mark in marks), "the next block ends a response"


def test_post_instruction_template():
    assert Template("after", preamble=False).render(INSTRUCTION, "Ciao.") == (
        f"### Input:\nCiao.\n\n### Instruction:\n{INSTRUCTION}\n\n### Response:\n"
    )


def test_demonstrations_come_in_order_before_the_sentence_with_one_preamble():
    prompt = Template().render(INSTRUCTION, "Ciao.", [("Uno.", "Een."), ("Due.", "Twee.")])
    assert prompt.count("Below is") == 1
    places = [prompt.index(text) for text in ("Uno.", "Een.", "Due.", "Twee.", "Ciao.")]
    assert places == sorted(places)
    assert prompt.endswith("Ciao.\n\n### Response:\n")


def test_instruction_in_the_target_language():
    assert translation_instruction("it-nl", "nl") == "Vertaal de volgende zinnen van het Italiaans naar het Nederlands."
    assert translation_instruction("en-de", "de") == "Übersetze die folgenden Sätze aus dem Englischen ins Deutsche."


def test_every_prompt_language_has_a_complete_wording():
    for code, wording in wordings().items():
        for source in wordings():
            for target in wordings():
                instruction = translation_instruction(f"{source}-{target}", code)
                assert "{" not in instruction
                assert names_in(code, source)["source"] in instruction
                assert names_in(code, target)["target"] in instruction
        assert all(wording[key] for key in ("preamble", "instruction_header", "input_header", "response_header"))


def test_the_instructions_of_the_published_experiments_do_not_change():
    # Every direction of the twelve languages with hand-made prompts, in each of them. Another text, also of one
    # language name, would make finished experiments incomparable with new ones.
    codes = sorted(wordings())
    assert codes == ["cs", "de", "en", "fr", "it", "ja", "ko", "nl", "ro", "ru", "uk", "zh"]
    texts = [
        f"{language} {source}-{target} {translation_instruction(f'{source}-{target}', language)}"
        for language in codes
        for source in codes
        for target in codes
    ]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    assert digest == "7c36f66e30b4d3a3cd1c19ba6d43b2ca62730a470e9016c46c80c5af32bb6332"


@pytest.mark.parametrize(
    ("direction", "language", "expected"),
    [
        ("es-sw", "en", "Translate the following sentences from Spanish to Swahili."),
        ("en-pt-BR", "en", "Translate the following sentences from English to Brazilian Portuguese."),
        ("es-nl", "nl", "Vertaal de volgende zinnen van het Spaans naar het Nederlands."),
        ("hi-ja", "ja", "次の文をヒンディー語から日本語に翻訳してください。"),
    ],
)
def test_names_of_languages_come_from_cldr(direction, language, expected):
    assert translation_instruction(direction, language) == expected


def test_a_prompt_language_without_sentences_or_names_gives_one_clear_error():
    with pytest.raises(InputError, match=r"no prompts in `es` \(Spanish\), only in cs de .*leave out en-es or PTL"):
        translation_instruction("en-es", "es")
    with pytest.raises(InputError, match=r"prompts\.yaml: de: no name of `es` \(Spanish\) in the instruction es-de"):
        translation_instruction("es-de", "de")
    with pytest.raises(InputError, match=r"prompts\.yaml: en: no name of `xx` in the instruction xx-nl"):
        translation_instruction("xx-nl")


def test_template_pieces_are_everything_in_a_prompt_except_languages_and_sentences():
    pieces = template_pieces()
    for position in ("before", "after"):
        prompt = Template(position, preamble=False).render(INSTRUCTION, "Ciao.", [("Uno.", "Een.")])
        for piece in sorted(pieces, key=len, reverse=True):
            prompt = prompt.replace(piece, "|")
        demonstration, request = ("Uno.", "Italian to Dutch."), ("Ciao.", "Italian to Dutch.")
        if position == "before":
            demonstration, request = demonstration[::-1], request[::-1]
        assert [part.strip() for part in prompt.split("|") if part] == [*demonstration, "Een.", *request]


def test_the_next_block_ends_a_response():
    following = Template(preamble=False).render(INSTRUCTION, "Ciao.")
    assert any(mark in f"Hallo.\n\n{following}" for mark in response_end_marks())


def test_contrasts_name_english_and_the_source_but_never_the_real_target():
    contrasts = [("en", -0.5), ("source", -0.5)]
    row = prompt_row("Ciao.", "it-nl", Template(), contrasts=contrasts)
    assert ["Italian to English" in row["contrasts"][0][0], "Italian to Italian" in row["contrasts"][1][0]] == [
        True,
        True,
    ]
    ((english, weight),) = prompt_row("Hello.", "en-it", Template(), contrasts=contrasts)["contrasts"]
    assert "English to English" in english and weight == -1.0
    into_english = prompt_row("Ciao.", "it-en", Template(), contrasts=contrasts)
    assert [weight for _, weight in into_english["contrasts"]] == [-0.5]
    assert "Italian to Italian" in into_english["contrasts"][0][0]

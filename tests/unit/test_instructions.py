"""Sets of general instructions, and the prompts that are made from them."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.files import InputError, read_jsonl
from workflow_scripts.lat.prompts.instructions import Task, read_instructions
from workflow_scripts.lat.prompts.prompting import Template, response_end_marks
from workflow_scripts.prompts import instruction_prompt

ALPACA = [
    {"instruction": "Name a bird.", "input": "", "output": "The wren."},
    {"instruction": "Add them.", "input": "2 and 3", "output": "5"},
    {"instruction": "Say nothing.", "input": "", "output": ""},
]


@pytest.fixture
def alpaca(tmp_path):
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps(ALPACA))
    return path


def test_layouts_of_alpaca_and_alpacaeval(alpaca, tmp_path):
    assert read_instructions(alpaca) == [
        Task("Name a bird.", None, "The wren."), Task("Add them.", "2 and 3", "5"), Task("Say nothing.", None, "")
    ]  # fmt: skip
    assert len(read_instructions(alpaca, with_outputs=True)) == 2
    prompts = tmp_path / "eval.jsonl"
    prompts.write_text(
        json.dumps({"instruction": "Sing.", "dataset": "vicuna", "generator": "x", "output": "La"}) + "\n"
    )
    assert read_instructions(prompts) == [Task("Sing.", None, "La")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", "line 1 is not JSON"),
        ('{"instruction": "x"}\n{"instruction": "y"}', "line 2 is not JSON .*call it .jsonl"),
        ('{"instruction": "x"}', "not a list of objects"),
        ("[]", "no instruction; take another set"),
        ('[{"instruction": " "}]', "object 1 needs a text `instruction`"),
        ('[{"instruction": "x"}, {"prompt": "y"}]', "object 2 needs"),
        ('[{"instruction": "x", "input": 3}]', "object 1 needs"),
        (
            r'[{"instruction": "x"}, {"instruction": "Say \ud83d"}]',
            r"object 2: the escape \\ud83d is half of a character",
        ),
        (r'[{"instruction": "x\u0000"}]', r"object 1: the escape \\u0000 is no text"),
    ],
)
def test_a_file_that_is_not_a_set_gives_one_clear_error(tmp_path, content, message):
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_instructions(path)
    assert str(path) in str(error.value)


def test_escapes_that_no_file_can_hold_are_named_by_the_line_of_a_jsonl_file(tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text('{"instruction": "x"}\n' + r'{"instruction": "Say hi \ud83d", "output": "hi"}' + "\n")
    with pytest.raises(InputError, match=r"set\.jsonl: line 2: the escape \\ud83d is half of a character"):
        read_instructions(path)


def test_a_byte_order_mark_is_no_part_of_a_set(tmp_path):
    path = tmp_path / "set.json"
    path.write_bytes(b'\xef\xbb\xbf[{"instruction": "x"}]')
    assert read_instructions(path) == [Task("x", None, "")]


def test_an_instruction_without_input_has_no_input_block_and_another_preamble():
    prompt = Template().render("Name a bird.", None)
    assert prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nName a bird.\n\n### Response:\n"
    )
    assert Template("after", preamble=False).render("Name a bird.", None) == prompt.split("\n\n", 1)[1]
    assert "### Input:\n2 and 3\n" in instruction_prompt(tasks_of(ALPACA)[1], Template())["prompt"]


def tasks_of(rows):
    return [Task(row["instruction"], row["input"] or None, row["output"]) for row in rows]


def test_only_the_instruction_header_ends_an_answer_of_several_lines():
    answer = "Two birds:\n\n### Wren\nSmall.\n\n### Instruction:\nmore"
    (mark,) = response_end_marks(one_line=False)
    assert answer[: answer.index(mark)].rstrip().endswith("Small.")


def test_training_prompts_are_translations_and_then_instructions_with_an_output(alpaca, tmp_path):
    samples, output = tmp_path / "train.jsonl", tmp_path / "prompts.jsonl"
    samples.write_text(json.dumps({"direction": "en-it", "source": "Hello", "target": "Ciao"}) + "\n")
    command = [sys.executable, "-m", "workflow_scripts.prompts", "train", "--samples", samples, "--mix", alpaca]
    subprocess.run([*command, "--output", output], check=True, cwd=ROOT)
    first, second, third = read_jsonl(output)
    assert first["direction"] == "en-it" and first["response"] == "Ciao"
    assert "direction" not in second and second["instruction"] == "Name a bird." and second["response"] == "The wren."
    assert third["source"] == "2 and 3"
    for draw, count in (("instruction", 3), ("target", 1)):
        command = [
            sys.executable,
            "-m",
            "workflow_scripts.conflicts",
            "--samples",
            output,
            "--draw",
            draw,
            "--seed",
            "1",
        ]
        conflicts = tmp_path / f"{draw}.jsonl"
        subprocess.run([*command, "--languages", "en", "it", "nl", "--output", conflicts], check=True, cwd=ROOT)
        rows = read_jsonl(conflicts)
        assert len(rows) == count
        for row in rows:
            assert row["conflict"] != row["prompt"]
            assert ("### Input:" in row["conflict"]) == ("### Input:" in row["prompt"])

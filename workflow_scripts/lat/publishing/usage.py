"""The lines of Python with which a reader of the model card translates, and what they print.

The card has the prompt as one string in which a sentence and the names of two languages are filled in. The lines decode
it with `transformers.pipeline`, whose search is that of the folder's generation config, and shorten the output as the
workflow does: up to the first text that belongs to another block of the template, and in one line.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..files import InputError
from ..languages import split_direction
from ..prompts.kinds import Prompt
from ..prompts.prompting import names_in, response_end_marks, wordings
from ..prompts.templates import AnyTemplate

# What stands in the slots while the layout is found out; characters that Unicode gives no meaning.
SLOTS = {"source": "\ue010", "target": "\ue011", "text": "\ue012"}
# Lines of Python that load the model; those after them translate a sentence.
LOADING = 3


class Line(NamedTuple):
    """A test line: its direction and source, the prompt of the workflow, and the workflow's translation."""

    direction: str
    source: str
    prompt: Prompt
    translation: str


@dataclass(frozen=True)
class Usage:
    """How a sentence becomes a translation.

    Attributes:
        name: what the model is loaded by: its repository, or a folder.
        layout: the prompt, for `str.format` with `source`, `target` (names of languages) and `text`.
        marks: texts that end a translation.
        writes_start: whether the layout itself has the start token, as those of chat templates do.
    """

    name: str
    layout: str
    marks: tuple[str, ...]
    writes_start: bool

    def prompt(self, direction: str, text: str) -> str:
        """The prompt of a sentence."""
        return self.layout.format(**_names(direction), text=text)

    def code(self, direction: str, text: str) -> list[str]:
        """The lines of Python that print the translation of a sentence."""
        names = _names(direction)
        values = f"source={names['source']!r}, target={names['target']!r}, text={text!r}"
        options = "do_sample=False, return_full_text=False" + ", add_special_tokens=False" * self.writes_start
        cuts = "".join(f".split({mark!r})[0]" for mark in self.marks)
        return [
            "from transformers import pipeline",
            f'translate = pipeline("text-generation", {self.name!r})',
            f"prompt = {self.layout!r}",
            f"output = translate(prompt.format({values}), {options})",
            f'print(" ".join(output[0]["generated_text"]{cuts}.split()))',
        ]


def usage_of(template: AnyTemplate, end: str | None, marks: Sequence[str] | None, name: str) -> Usage:
    """Return how a model with a template is used.

    Args:
        template: the template of the model's prompts.
        end: the end-of-turn token of the template if the tokenizer does not leave it out as a special token.
        marks: texts that end a response; None for the headers of the template.
        name: what the model is loaded by.
    """
    words = wordings()["en"]["translate"].format(source=SLOTS["source"], target=SLOTS["target"])
    prompt = template.render(words, SLOTS["text"])
    layout = _text(prompt).replace("{", "{{").replace("}", "}}")
    for slot, mark in SLOTS.items():
        layout = layout.replace(mark, f"{{{slot}}}")
    found = response_end_marks() if marks is None else list(marks)
    return Usage(name, layout, (*found, *([end] if end else [])), not isinstance(prompt, str))


def check_prompts(usage: Usage, lines: Sequence[Line], published: Any, encode: Any) -> None:
    """Check that the card's prompts are those of the workflow, and that the tokenizer encodes them alike.

    Args:
        usage: how the model is used.
        lines: test lines.
        published: the tokenizer of the published folder.
        encode: the workflow's function from a prompt to token ids.

    Raises:
        InputError: a prompt is not the same.
    """
    for line in lines:
        text = usage.prompt(line.direction, line.source)
        if text != _text(line.prompt):
            raise InputError(
                f"{line.direction}: the prompt of the card differs from that of the workflow for {line.source[:60]!r};"
                " the card cannot say how to prompt this model"
            )
        if published(text, add_special_tokens=not usage.writes_start)["input_ids"] != encode(line.prompt):
            raise InputError(
                f"{line.direction}: transformers encodes the prompt of {line.source[:60]!r} otherwise than the"
                " workflow; such a model cannot be used with a pipeline, so it is not published"
            )


def run_code(usage: Usage, lines: Sequence[Line]) -> list[str]:
    """Run the lines of Python of the card for some test lines, and return what they print.

    Args:
        usage: how the model is used, with a folder as `name`.
        lines: the test lines.
    """
    names: dict[str, Any] = {}
    printed = []
    for line in lines:
        code = usage.code(line.direction, line.source)
        if not names:
            exec("\n".join(code[:LOADING]), names)
        with redirect_stdout(io.StringIO()) as output:
            exec("\n".join(code[LOADING:]), names)
        printed.append(output.getvalue().removesuffix("\n"))
    return printed


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "".join(prompt)


def _names(direction: str) -> dict[str, str]:
    source, target = split_direction(direction)
    return {"source": names_in("en", source)["source"], "target": names_in("en", target)["target"]}

"""Prompts: the Alpaca template, where the instruction stands, in which language, with how many demonstrations.

Zan et al. (arXiv 2403.14399) tune and decode with the Alpaca template and the instruction `Translate the following
sentences from {source} to {target}.`; the baselines Post-ins, PTL and k-shot are other ways of filling it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import yaml

from ..files import InputError, read_text
from ..languages import RESOURCES, split_direction

Position = Literal["before", "after"]


@cache
def wordings() -> dict[str, dict[str, Any]]:
    """Template pieces and language names of every prompt language, from `resources/prompts.yaml`."""
    return yaml.safe_load(read_text(RESOURCES / "prompts.yaml"))


def translation_instruction(direction: str, prompt_language: str = "en") -> str:
    """The instruction that asks for `direction`, worded in `prompt_language`.

    Raises:
        InputError: the wording or a language name is missing from `resources/prompts.yaml`.
    """
    source, target = split_direction(direction)
    try:
        wording = wordings()[prompt_language]
        names = wording["names"]
        return wording["translate"].format(source=names[source]["source"], target=names[target]["target"])
    except KeyError as error:
        raise InputError(
            f"resources/prompts.yaml: no entry {error} for the instruction {direction} in {prompt_language}; add it"
        ) from None


@dataclass(frozen=True)
class Template:
    """How an instruction and an input become a prompt.

    Attributes:
        instruction_position: `before` the input (as tuned), or `after` it (Post-ins).
        preamble: whether the sentence that introduces Alpaca prompts comes first.
    """

    instruction_position: Position = "before"
    preamble: bool = True

    def render(
        self,
        instruction: str,
        source: str | None,
        demonstrations: Sequence[tuple[str, str]] = (),
        prompt_language: str = "en",
    ) -> str:
        """The prompt up to and including the response header; the response follows it without a separator.

        Args:
            instruction: what is asked for.
            source: the sentence to translate or another input; None where an (English) instruction comes without one.
            demonstrations: (source, target) pairs shown, in this order, before the sentence (k-shot).
            prompt_language: language of preamble and headers (PTL: the target language).
        """
        wording = wordings()[prompt_language]
        instruction_part = f"### {wording['instruction_header']}\n{instruction}\n\n"

        def block(text: str | None) -> str:
            input_part = "" if text is None else f"### {wording['input_header']}\n{text}\n\n"
            parts = (
                (instruction_part, input_part)
                if self.instruction_position == "before"
                else (input_part, instruction_part)
            )
            return "".join(parts) + f"### {wording['response_header']}\n"

        shown = "".join(f"{block(shown_source)}{target}\n\n" for shown_source, target in demonstrations)
        preamble = "preamble" if source is not None else "preamble_without_input"
        return (f"{wording[preamble]}\n\n" if self.preamble else "") + shown + block(source)


def template_pieces() -> list[str]:
    """The fixed strings of the English template between its slots, in both layouts, headers included."""
    slot = "\0"
    instruction = wordings()["en"]["translate"].format(source=slot, target=slot)
    rendered = [
        Template(position, preamble=False).render(instruction, slot, [(slot, slot)]) for position in get_args(Position)
    ]
    # Without the spaces and full stops around a slot, which belong to the words that fill it.
    pieces = {piece.strip(" .") for text in rendered for piece in text.split(slot)}
    return sorted(piece for piece in pieces if "###" in piece)


def response_end_marks(prompt_language: str = "en", one_line: bool = True) -> list[str]:
    """What begins a further block of the template: text from here on is no longer the response.

    Responses of several lines may have headings of their own, those of `one_line` not.
    """
    instruction = f"### {wordings()[prompt_language]['instruction_header']}"
    return ["\n\n###", instruction] if one_line else [instruction]

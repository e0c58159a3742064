"""Prompts in the Alpaca template, and its variants: position and language of the instruction, demonstrations.

Zan et al. (arXiv 2403.14399) tune and decode with the Alpaca template and the instruction `Translate the following
sentences from {source} to {target}.` The baselines Post-ins, PTL and k-shot fill the template in other ways.

There are two layouts. In `alpaca`, the published one, the response follows the colon of the response header at once,
and both are encoded as one string. In `alpaca-lines`, the response is on a line of its own, and is encoded apart from
the prompt. `chat.py` has the templates of chat models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import yaml

from ..files import InputError, read_text
from ..languages import RESOURCES, language_name, split_direction

Position = Literal["before", "after"]
Layout = Literal["alpaca", "alpaca-lines"]
# How demonstrations are shown: after a single preamble, or each as a whole prompt with its response, as published.
ShotsLayout = Literal["once", "each"]


@cache
def wordings() -> dict[str, dict[str, Any]]:
    """Return `resources/prompts.yaml`: the texts of the template and the language names, by prompt language."""
    return yaml.safe_load(read_text(RESOURCES / "prompts.yaml"))


def names_in(prompt_language: str, code: str) -> dict[str, str]:
    """Return the name of a language as `source` and as `target` of the instruction in a prompt language.

    Where the instruction needs the name as dictionaries have it, it comes from CLDR; other prompt languages need a
    case, an article or a preposition, and have names of their own in `resources/prompts.yaml`.

    Returns:
        Both names; nothing if there is none.
    """
    wording = wordings().get(prompt_language)
    if wording is None:
        return {}
    if "names" in wording:
        return wording["names"].get(code, {})
    name = language_name(code, prompt_language)
    return {"source": name, "target": name} if name else {}


def prompt_entries(codes: Iterable[str]) -> dict[str, Any]:
    """Return the wordings of the prompts in English and some languages, with the names of these languages.

    Args:
        codes: language codes; those without a wording or a name are left out.
    """
    wanted = sorted({"en", *codes})
    return {
        language: wordings()[language]
        | {"names": {code: names for code in wanted if (names := names_in(language, code))}}
        for language in wanted
        if language in wordings()
    }


def translation_instruction(direction: str, prompt_language: str = "en") -> str:
    """The instruction to translate in `direction`, written in `prompt_language`.

    Raises:
        InputError: there are no prompts in this language, or they have no name for a language of the direction.
    """
    source, target = split_direction(direction)
    if prompt_language not in wordings():
        raise InputError(
            f"resources/prompts.yaml: no prompts in {_described(prompt_language)}, only in"
            f" {' '.join(sorted(wordings()))}; add the entry `{prompt_language}`, or leave out {direction}"
            " or PTL, that is `prompt_language: target`"
        )
    names = [names_in(prompt_language, code).get(role) for code, role in ((source, "source"), (target, "target"))]
    for code, name in zip((source, target), names, strict=True):
        if name is None:
            raise InputError(
                f"resources/prompts.yaml: {prompt_language}: no name of {_described(code)} in the instruction"
                f" {direction}; add `{code}` to `names`, or leave out {direction} or PTL, that is"
                " `prompt_language: target`"
            )
    return wordings()[prompt_language]["translate"].format(source=names[0], target=names[1])


def _described(code: str) -> str:
    """Return a code with its English name, such as `es` (Spanish)."""
    name = language_name(code, "en")
    return f"`{code}` ({name})" if name else f"`{code}`"


@dataclass(frozen=True)
class Template:
    """A variant of the Alpaca template, which makes a prompt from an instruction and an input.

    Attributes:
        instruction_position: position of the instruction: `before` the input (Alpaca), or `after` it (Post-ins).
        preamble: whether the prompt starts with the introductory sentence of Alpaca prompts.
        layout: see the docstring of the module.
        shots_layout: `once`: the preamble stands once, before all demonstrations. `each`: every demonstration is a
            whole prompt with its response, and a single line break separates it from what follows.
    """

    instruction_position: Position = "before"
    preamble: bool = True
    layout: Layout = "alpaca-lines"
    shots_layout: ShotsLayout = "once"

    def render(
        self,
        instruction: str,
        source: str | None,
        demonstrations: Sequence[tuple[str, str]] = (),
        prompt_language: str = "en",
    ) -> str:
        """Render a prompt up to and including the response header, which the response follows without a separator.

        Args:
            instruction: text of the instruction.
            source: the sentence to translate, or the input of a general instruction; None for a general instruction
                (in English) without an input.
            demonstrations: (source, target) pairs that are shown before the sentence, in this order (k-shot).
            prompt_language: language of the preamble and the headers (PTL: the target language).
        """
        wording = wordings()[prompt_language]
        instruction_part = f"### {wording['instruction_header']}\n{instruction}\n\n"
        preamble_key = "preamble" if source is not None else "preamble_without_input"
        preamble = f"{wording[preamble_key]}\n\n" if self.preamble else ""

        def block(text: str | None) -> str:
            input_part = "" if text is None else f"### {wording['input_header']}\n{text}\n\n"
            parts = (
                (instruction_part, input_part)
                if self.instruction_position == "before"
                else (input_part, instruction_part)
            )
            return "".join(parts) + f"### {wording['response_header']}" + "\n" * (self.layout == "alpaca-lines")

        if self.shots_layout == "each":
            shown = "".join(f"{preamble}{block(shown_source)}{target}\n" for shown_source, target in demonstrations)
            return f"{shown}{preamble}{block(source)}"
        shown = "".join(f"{block(shown_source)}{target}\n\n" for shown_source, target in demonstrations)
        return f"{preamble}{shown}{block(source)}"

    def training_keys(self) -> dict[str, Any]:
        """Return the keys of a training sample that say how it is encoded, see `training/samples.py`."""
        return {} if self.layout == "alpaca-lines" else {"joined": True}

    def decoding_keys(self, prompt_language: str = "en", one_line: bool = True) -> dict[str, Any]:
        """Return the keys of a prompt that say where its response ends; without any, `response_end_marks` does.

        The arguments are those of `response_end_marks`.
        """
        if self.layout == "alpaca-lines":
            return {}
        marks = response_end_marks(prompt_language, one_line)
        if self.preamble:
            # With `shots_layout: each`, another demonstration begins with this sentence.
            wording = wordings()[prompt_language]
            marks += [f"\n{wording[key]}" for key in ("preamble", "preamble_without_input") if key in wording]
        return {"marks": marks}


def template_pieces() -> list[str]:
    """The fixed strings of the English template between its slots, with the instruction before and after the input."""
    slot = "\0"
    instruction = wordings()["en"]["translate"].format(source=slot, target=slot)
    rendered = [
        Template(position, preamble=False).render(instruction, slot, [(slot, slot)]) for position in get_args(Position)
    ]
    # Spaces and full stops next to a slot are removed: they belong to the words that fill the slot.
    pieces = {piece.strip(" .") for text in rendered for piece in text.split(slot)}
    return sorted(piece for piece in pieces if "###" in piece)


def response_end_marks(prompt_language: str = "en", one_line: bool = True) -> list[str]:
    """Strings that begin another block of the template; the text from there on does not belong to the response.

    Args:
        prompt_language: language of the template.
        one_line: responses have one line, so that any heading ends them. Responses of several lines may contain
            headings, so that only the instruction header ends them.
    """
    instruction = f"### {wordings()[prompt_language]['instruction_header']}"
    return ["\n\n###", instruction] if one_line else [instruction]

"""The template of a base model, from the flags that the scripts which write prompts have in common."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from ..files import InputError, read_text
from ..names import ALPACA, ALPACA_LINES, CHAT
from .prompting import ShotsLayout, Template

if TYPE_CHECKING:
    from .chat import ChatTemplate

AnyTemplate: TypeAlias = Union[Template, "ChatTemplate"]


def add_template_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `template_of`."""
    parser.add_argument(
        "--template", default=ALPACA_LINES, help=f"{ALPACA}, {ALPACA_LINES}, {CHAT}, or a file with a chat template"
    )
    parser.add_argument("--tokenizer", type=Path, help="folder of the base model, whose tokenizer chat templates need")
    parser.add_argument("--instruction-position", choices=("before", "after"), default="before")
    parser.add_argument(
        "--no-preamble", action="store_true", help="leave out the introductory sentence of Alpaca prompts"
    )
    parser.add_argument("--system-message", help="text of the turn of the system, for chat templates")
    parser.add_argument("--template-options", type=json.loads, default={}, help="variables of a chat template, as JSON")


def template_of(arguments: argparse.Namespace, shots_layout: ShotsLayout = "once") -> AnyTemplate:
    """Return the template that the flags describe.

    Args:
        arguments: parsed flags of `add_template_arguments`.
        shots_layout: see `Template`; without effect on chat templates.

    Raises:
        InputError: the tokenizer has no chat template, or the file is no template.
    """
    if arguments.template == ALPACA or arguments.template == ALPACA_LINES:
        return Template(
            arguments.instruction_position,
            preamble=not arguments.no_preamble,
            layout=arguments.template,
            shots_layout=shots_layout,
        )
    if not arguments.tokenizer:
        raise InputError(f"--template {arguments.template} needs --tokenizer, the folder of the base model")
    return chat_template(
        arguments.tokenizer,
        None if arguments.template == CHAT else Path(arguments.template),
        arguments.instruction_position,
        arguments.system_message,
        arguments.template_options,
    )


def chat_template(
    model: Path, file: Path | None, instruction_position: str, system_message: str | None, options: dict[str, object]
) -> ChatTemplate:
    """Return the chat template of a tokenizer, or the one of a file for this tokenizer.

    Args:
        model: the folder with the tokenizer.
        file: the file; None takes the tokenizer's own template.
        instruction_position: see `ChatTemplate`.
        system_message: see `ChatTemplate`.
        options: see `ChatTemplate`.

    Raises:
        InputError: the tokenizer has no chat template.
    """
    # Imported here, since the libraries take seconds to load, and other templates do without them.
    from ..models import load_tokenizer
    from .chat import ChatTemplate

    tokenizer = load_tokenizer(model)
    if file:
        text = read_text(file)
    else:
        try:
            text = tokenizer.get_chat_template()
        except ValueError:  # none, or several of which none is the default
            raise InputError(
                f"{model}: its tokenizer has no chat template, which `template: {CHAT}` needs; set `template: {ALPACA}`"
                " or a file with a template, or choose a chat model"
            ) from None
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return ChatTemplate(
        str(file) if file else f"chat template of {model}",
        text,
        special,
        frozenset(tokenizer.get_added_vocab()),
        "after" if instruction_position == "after" else "before",
        system_message,
        options,
    )

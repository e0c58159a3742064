"""Prompts in the chat template of a tokenizer, or in a template of the same kind from a file.

A chat template is a Jinja template that writes a conversation as text with the control tokens of a model, such as
`<|im_start|>`. The instruction and the sentence are the turn of the user, and the response is the turn of the model;
demonstrations are turns before them.

A rendered prompt is a list of pieces, see `Prompt`, so that the name of a control token within a sentence is never
encoded as this token.
"""

import datetime
import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..files import InputError, fold
from .prompting import Position

# Templates that write the date of the day give the same prompts on every day. Llama 3 has this date as its default.
DATE = datetime.datetime(2024, 7, 26)
# Variables of every template that knows them, unless `template_options` sets them: a translation needs no thoughts.
DEFAULT_OPTIONS = {"enable_thinking": False}
# Variables that have a meaning here or in the library, so that `template_options` cannot set them.
RESERVED_OPTIONS = (
    "messages", "add_generation_prompt", "continue_final_message", "tools", "documents", "instruction_position",
    "bos_token", "eos_token", "pad_token", "unk_token", "raise_exception", "strftime_now",
)  # fmt: skip
SEPARATOR = "\n\n"  # between instruction and sentence
# A slot of a template, while the structure of its prompts is found out; characters that Unicode gives no meaning.
SLOT = re.compile("\ue000([0-9]+)\ue001")


class _Generation(Extension):
    """The tag `{% generation %}`, with which templates mark the turns of the model; it adds no text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        return jinja2.nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(value: Any, **settings: Any) -> str:
    return json.dumps(value, **({"ensure_ascii": False} | settings))


def compile_template(text: str) -> jinja2.Template:
    """Compile a chat template with what the library transformers offers to it, but for a fixed date.

    Raises:
        jinja2.TemplateSyntaxError: the text is no template.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": DATE.strftime}
    return environment.from_string(text)


@dataclass(frozen=True)
class Message:
    """A turn of a conversation.

    Attributes:
        role: whose turn it is.
        texts: of the user, the instruction and, if there is one, the sentence; of the others, their only text.
    """

    role: Literal["system", "user", "assistant"]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template, which makes a prompt from an instruction and an input.

    Attributes:
        name: what the user calls the template, for messages.
        text: the Jinja template.
        special_tokens: the tokenizer's special tokens by name, such as `bos_token`, which the template may write.
        added_tokens: the texts that the tokenizer never divides, among them the control tokens of the template.
        instruction_position: position of the instruction in the turn of the user: `before` the sentence, or `after` it
            (Post-ins).
        system_message: text of the turn of the system; None leaves this turn out.
        options: values of variables of the template.
    """

    name: str
    text: str
    special_tokens: Mapping[str, str]
    added_tokens: Collection[str]
    instruction_position: Position = "before"
    system_message: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    _structures: dict[Any, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def render(
        self,
        instruction: str,
        source: str | None,
        demonstrations: Sequence[tuple[str, str]] = (),
        prompt_language: str = "en",
    ) -> list[str]:
        """Render a prompt up to where the response begins.

        Args:
            instruction: text of the instruction.
            source: the sentence to translate, or the input of a general instruction; None if it has none.
            demonstrations: (source, target) pairs that are turns before the sentence, in this order (k-shot).
            prompt_language: without effect, since the template writes no words of its own.

        Returns:
            See `Prompt`.

        Raises:
            InputError: the template refuses the conversation, or does not write its texts as they are.
        """
        messages = [Message("system", (self.system_message,))] if self.system_message is not None else []
        for shown_source, target in demonstrations:
            messages += [Message("user", (instruction, shown_source)), Message("assistant", (target,))]
        messages.append(Message("user", (instruction,) if source is None else (instruction, source)))
        return self._pieces(messages)

    def training_keys(self) -> dict[str, Any]:
        """Return the keys of a training sample that say how it is encoded, see `training/samples.py`."""
        return {"joined": True} | ({"end": self.end} if self.end else {})

    def decoding_keys(self, prompt_language: str = "en", one_line: bool = True) -> dict[str, Any]:
        """Return the keys of a prompt that say where its response ends."""
        return {"marks": self._marks} | ({"end": self.end} if self.end else {})

    @cached_property
    def end(self) -> str | None:
        """What ends a response: white space, if the template writes any there, and the end-of-turn token.

        None if no token of the tokenizer follows a response, which then ends with the end of the sequence.
        """
        ending = self._ending
        found = self._find_added(ending)
        return ending[: found.end()] if found and not ending[: found.start()].strip() else None

    @cached_property
    def _ending(self) -> str:
        """The text of the template after the response of a conversation that ends with it."""
        conversation = [*self._question(), Message("assistant", ("A.",))]
        *before, ending = self._structure(conversation, generation=False)[::2]
        prompt = self._structure(self._question(), generation=True)[-1]
        without = self._structure(self._question(), generation=False)[-1]
        # Templates whose turn of the user ends with a mark of its own, such as [/INST], need no other beginning.
        if prompt == without and before[-1] != prompt and before[-1][len(prompt) :].strip():
            raise InputError(
                f"{self.name}: the template writes no beginning of the response when it is given"
                " `add_generation_prompt`; use another template"
            )
        return ending

    @cached_property
    def _marks(self) -> list[str]:
        """Text by which another turn begins, if no token ends a response and the template writes words there."""
        if self.end:
            return []
        conversation = [*self._question(), Message("assistant", ("A.",)), *self._question()[-1:]]
        between = self._structure(conversation, generation=True)[-5].rstrip(" ")
        return [between] if between.strip() else []

    def _question(self) -> list[Message]:
        system = [Message("system", (self.system_message,))] if self.system_message is not None else []
        return [*system, Message("user", ("I.", "S."))]

    def _find_added(self, text: str) -> re.Match[str] | None:
        longest_first = sorted(self.added_tokens, key=len, reverse=True)
        return re.search("|".join(map(re.escape, longest_first)), text) if longest_first else None

    def _pieces(self, messages: Sequence[Message]) -> list[str]:
        """Render a conversation, and check that the pieces are what the template itself makes of the texts."""
        # Many templates remove the white space around a text.
        messages = [Message(message.role, tuple(map(str.strip, message.texts))) for message in messages]
        pieces = list(self._structure(messages, generation=True))
        texts = [text for message in messages for text in message.texts]
        pieces[1::2] = [texts[int(slot)] for slot in pieces[1::2]]
        if "".join(pieces) != self._write(messages, lambda text: text, generation=True):
            raise InputError(
                f"{self.name}: the template does not write the text {fold(' '.join(texts))[:60]!r} as it is; use"
                " another template"
            )
        return pieces

    def _structure(self, messages: Sequence[Message], generation: bool) -> list[str]:
        """Return the pieces of a conversation with the numbers of its texts in the slots.

        Raises:
            InputError: a text is missing, or is there twice.
        """
        key = tuple((message.role, len(message.texts)) for message in messages), generation
        if key not in self._structures:
            count = 0

            def slot(_: str) -> str:
                nonlocal count
                count += 1
                return f"\ue000{count - 1}\ue001"

            pieces = SLOT.split(self._write(messages, slot, generation))
            if sorted(map(int, pieces[1::2])) != list(range(count)):
                what = "the system message, the instruction or the sentence" if self.system_message else "a text"
                raise InputError(f"{self.name}: the template leaves out {what}, or repeats it; use another template")
            self._structures[key] = pieces
        return self._structures[key]

    def _write(self, messages: Sequence[Message], show: Callable[[str], str], generation: bool) -> str:
        """Let the template write a conversation, with `show` applied to each text."""
        conversation = []
        for message in messages:
            shown = [show(text) for text in message.texts]
            ordered = shown if self.instruction_position == "before" else shown[::-1]
            fields = {"role": message.role, "content": SEPARATOR.join(ordered)}
            if message.role == "user":
                # For templates from a file that write words of their own between the two.
                fields |= dict(zip(("instruction", "input"), shown, strict=False))
            conversation.append(fields)
        try:
            return self._compiled.render(
                {
                    **DEFAULT_OPTIONS,
                    **self.special_tokens,
                    **self.options,
                    "instruction_position": self.instruction_position,
                    "messages": conversation,
                    "add_generation_prompt": generation,
                }
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            roles = ", ".join(message.role for message in messages)
            raise InputError(
                f"{self.name}: the template refuses a conversation with the turns {roles} ({first_words(error)});"
                " change `system_message` or `template_options`, or use another template"
            ) from None

    @cached_property
    def _compiled(self) -> jinja2.Template:
        try:
            return compile_template(self.text)
        except jinja2.TemplateSyntaxError as error:
            raise InputError(f"{self.name}: line {error.lineno}: {fold(error.message or '')}; correct it") from None


def first_words(error: Exception) -> str:
    """The message of an error in one line."""
    return fold(str(error))[:100] or type(error).__name__

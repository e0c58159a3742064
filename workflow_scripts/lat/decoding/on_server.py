"""Translate with a language model on a server.

The instruction is that of the workflow's own systems, and the message is that of the user in their chats.
"""

import re
from collections.abc import Sequence

from ..files import InputError
from ..prompts.chat import SEPARATOR
from ..prompts.prompting import translation_instruction
from ..runtime import log
from ..servers import ChatServer, Messages, Prices, Reply, in_prices

# Used to estimate the cost: bytes of UTF-8 per token of a prompt, and tokens of a translation per token of its source.
# Both differ between languages and tokenizers, but one dollar can be told from ten.
BYTES_PER_TOKEN = 4
REPLY_TOKENS = 1
# If the first lines have no translation at all, the others would be paid for in vain.
TRIAL_LINES = 10
# What encloses the thoughts of many models, if the server does not remove them from the reply.
THOUGHTS = re.compile("</?think>")


def translation_request(direction: str, source: str) -> Messages:
    """Return the messages that ask for the translation of a line.

    Raises:
        InputError: there is no English name of a language of the direction.
    """
    return [{"role": "user", "content": f"{translation_instruction(direction)}{SEPARATOR}{source.strip()}"}]


def translate(
    server: ChatServer,
    lines: Sequence[tuple[str, str]],
    parallel: int,
    prices: Prices | None = None,
    max_cost: float | None = None,
) -> list[Reply]:
    """Translate lines; a line for which the server has a reply already is not asked again.

    Args:
        server: the server to ask.
        lines: direction and text of every line.
        parallel: number of parallel requests.
        prices: prices for the logged costs: the estimate before the first request and the cost after the last one.
        max_cost: the maximum of the estimated cost; used only with `prices`.

    Returns:
        One reply per line.

    Raises:
        InputError: the estimate is above `max_cost`, the server fails, its first replies are all empty, or one of them
            contains thoughts.
    """
    requests = [translation_request(*line) for line in lines]
    waiting = [number for number, request in enumerate(requests) if not server.has_reply(request)]
    estimate = (
        sum(len(str(requests[number][0]["content"]).encode()) for number in waiting) / BYTES_PER_TOKEN,
        sum(len(lines[number][1].encode()) for number in waiting) / BYTES_PER_TOKEN * REPLY_TOKENS,
    )
    log.info(
        "%d lines for %s, %d still to ask: about %.0f thousand tokens%s",
        len(lines), server.model, len(waiting), sum(estimate) / 1000, in_prices(prices, estimate),
    )  # fmt: skip
    server.check_cost("lines", len(waiting), estimate, prices, max_cost)
    _check_trial(server, server.ask(requests[:TRIAL_LINES], parallel))
    replies = server.ask(requests, parallel)
    server.log_usage(replies, prices)
    return replies


def _check_trial(server: ChatServer, replies: Sequence[Reply]) -> None:
    thoughts = sum(THOUGHTS.search(reply.text) is not None for reply in replies)
    if thoughts:
        raise InputError(
            f"{server.place}: {thoughts} of the first {len(replies)} replies of {server.model} contain thoughts "
            f"(<think>); switch them off in {server.place}.request, often by "
            "`chat_template_kwargs: {enable_thinking: false}`, or let the server remove them"
        )
    if any(reply.text.strip() for reply in replies):
        return
    cut = sum(reply.truncated for reply in replies)
    reason = f", and {cut} of them end at the maximum number of tokens" if cut else ""
    remedy = "allow more tokens" if cut else "check the fields"
    raise InputError(
        f"{server.place}: the first {len(replies)} replies of {server.model} are empty{reason}; {remedy} in"
        f" {server.place}.request, or use another model"
    )

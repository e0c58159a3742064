"""Pairwise comparison of answers by a language model, the judge, which is asked twice with the answers swapped.

A judge tends to prefer one position, usually the first, whatever the answer there is. A system therefore wins only if
its answer is preferred in both positions; one preference for each answer is a tie (Zan et al., arXiv 2403.14399,
general tasks). The judge is not allowed to abstain.

Any server with OpenAI's chat-completions interface can be used. Every reply is written to a journal as soon as it
arrives, together with a hash of the whole request, so that the same request is never paid for twice.
"""

import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any, Literal, NamedTuple, get_args

import openai
from openai.types.chat import ChatCompletion, ChatCompletionUserMessageParam

from ..files import InputError, Journal, fold
from ..prompts.instructions import Task
from ..runtime import Progress, log

Outcome = Literal["win", "tie", "lose", "unclear"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

QUESTION = """\
Below are an instruction and two answers to it. Decide, whatever their order and length, which answer a person who \
gave this instruction would prefer: the one that does what was asked, is correct, helpful and in the language it \
should be in. There is no tie.

=== Instruction ===
{instruction}

=== Answer A ===
{first}

=== Answer B ===
{second}

=== End ===

Reply with one letter, A or B, and nothing else."""

# The HTTP client logs one line per request, which would hide the progress messages.
logging.getLogger("httpx2").setLevel(logging.WARNING)

LETTER = re.compile(r"\W*(?:answer\W+)?([AB])\W*", re.IGNORECASE)
# Used to estimate the cost: characters per token of English text with current tokenizers, and tokens per reply. This is
# accurate enough to distinguish one dollar from ten.
CHARACTERS_PER_TOKEN = 4
REPLY_TOKENS = 2
# Maximum share of replies without a choice; a judge above it does not understand the task. A trial of a few questions,
# with a higher maximum, detects such a judge before all questions are paid for.
MAX_UNCLEAR = 0.1
TRIAL_QUESTIONS = 10
TRIAL_MAX_UNCLEAR = 0.5


class Reply(NamedTuple):
    """A reply of the judge, and the tokens that the server counted for prompt and reply."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Prices:
    """Prices of one million prompt tokens and of one million reply tokens, in any currency."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the cost of these numbers of tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Judgement(NamedTuple):
    """The outcome for an answer, and the two replies of the judge: with this answer first, and with it second."""

    outcome: Outcome
    replies: tuple[str, str]


def question(task: Task, first: str, second: str) -> list[ChatCompletionUserMessageParam]:
    """Return the messages that ask which of two answers is better."""
    instruction = task.instruction if task.input is None else f"{task.instruction}\n\n{task.input}"
    # There is no system message, since the chat templates of some models do not support one.
    return [{"role": "user", "content": QUESTION.format(instruction=instruction, first=first, second=second)}]


def choice(reply: str) -> str:
    """Return the answer that a reply prefers, `A` or `B`, or an empty string if the reply is unclear.

    The letter must stand alone on the first line (reasons may follow) or on the last line (reasons may precede it),
    apart from punctuation and the word `Answer`. Different letters on these two lines are unclear.
    """
    lines = reply.strip().split("\n")
    found = {match[1].upper() for line in (lines[0], lines[-1]) if (match := LETTER.fullmatch(line))}
    return found.pop() if len(found) == 1 else ""


def outcome(first: str, second: str) -> Outcome:
    """Return the outcome for an answer.

    Args:
        first: reply of the judge with this answer in the first position.
        second: reply with this answer in the second position.
    """
    choices = choice(first), choice(second)
    if "" in choices:
        return "unclear"
    if choices == ("A", "B"):
        return "win"
    return "lose" if choices == ("B", "A") else "tie"


def sign_test(wins: int, losses: int) -> float:
    """Return the p-value of the exact two-sided sign test, in which ties are not counted.

    It is the probability of counts at least as uneven if wins and losses were equally likely.
    """
    count = wins + losses
    tail = sum(math.comb(count, number) for number in range(min(wins, losses) + 1)) / 2**count
    return min(1.0, 2 * tail)


class Judge:
    """A language model on a server with a chat-completions interface.

    Args:
        base_url: URL of the interface, such as `https://api.openai.com/v1`.
        key: API key, or None for a server that needs none. It is never shown, even if the server repeats it.
        model: name of the model on the server.
        request: additional fields of every request, such as `temperature`.
        journal: journal that keeps the replies.
        timeout: timeout of one request, in seconds.
        retries: how often a request is repeated after a temporary failure, with increasing waits.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        model: str,
        request: dict[str, Any],
        journal: Journal,
        timeout: float = 120.0,
        retries: int = 6,
    ) -> None:
        self.base_url, self.model, self._request, self._journal, self._key = base_url, model, request, journal, key
        self._client = openai.OpenAI(base_url=base_url, api_key=key or "none", timeout=timeout, max_retries=retries)
        self._replies = {row["request"]: Reply(*row["reply"]) for row in journal.read()}
        self._lock, self._failed = Lock(), Event()

    def has_reply(self, messages: list[ChatCompletionUserMessageParam]) -> bool:
        """Return whether the journal has a reply to these messages."""
        return self._request_hash(messages) in self._replies

    def ask(self, questions: Sequence[list[ChatCompletionUserMessageParam]], parallel: int) -> list[Reply]:
        """Return one reply per question, in the order of the questions; only questions without a reply are asked.

        Args:
            questions: the messages of every question.
            parallel: number of parallel requests.

        Raises:
            InputError: the server refuses a request or does not answer. The replies received so far are kept.
        """
        by_hash = {self._request_hash(messages): messages for messages in questions}
        pending = {key: messages for key, messages in by_hash.items() if key not in self._replies}
        progress = Progress(len(pending), "replies")
        self._failed.clear()
        with ThreadPoolExecutor(parallel) as pool:
            futures = [pool.submit(self._answer, key, messages) for key, messages in pending.items()]
            try:
                for future in as_completed(futures):
                    future.result()
                    progress.update()
            except BaseException:
                self._failed.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [self._replies[self._request_hash(messages)] for messages in questions]

    def _request_hash(self, messages: list[ChatCompletionUserMessageParam]) -> str:
        request = [self.base_url, self.model, self._request, messages]
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

    def _answer(self, key: str, messages: list[ChatCompletionUserMessageParam]) -> None:
        if self._failed.is_set():
            return
        try:
            reply = self._complete(messages)
        except BaseException:
            self._failed.set()
            raise
        # Written immediately, so that replies to parallel requests are not lost when one of the requests fails.
        with self._lock:
            self._journal.add({"request": key, "reply": reply})
            self._replies[key] = reply

    def _complete(self, messages: list[ChatCompletionUserMessageParam]) -> Reply:
        rerun = "replies so far are kept, rerun to go on"
        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                messages=messages,
                extra_body=self._request,
            )
        except openai.APIStatusError as error:
            remedy = {
                401: "check the key in the variable that `judge.key` names",
                403: "check the key in the variable that `judge.key` names",
                404: "check judge.base_url and judge.model",
                429: f"wait, or lower judge.parallel; {rerun}",
            }.get(error.status_code, "check the config's `judge`" if error.status_code < 500 else rerun)
            raise self._failure(f"answers {error.status_code} ({self._message(error)}); {remedy}") from None
        except openai.APIConnectionError as error:
            raise self._failure(
                f"does not answer ({error.__cause__ or error}); check judge.base_url; {rerun}"
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._failure(f"sends a response that cannot be read ({error}); check judge.base_url") from None
        message = (completion.model_extra or {}).get("error") if isinstance(completion, ChatCompletion) else None
        if message:
            raise self._failure(f"answers with an error ({message}); {rerun}")
        try:
            text = completion.choices[0].message.content or ""
            usage = completion.usage
            tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        except (AttributeError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise self._failure("sends no chat completion; check judge.base_url, which usually ends in /v1")
        return Reply(text, *tokens)

    @staticmethod
    def _message(error: openai.APIStatusError) -> str:
        body = error.body
        return str(body.get("message") or body) if isinstance(body, dict) else error.message

    def _failure(self, what: str) -> InputError:
        text = f"judge: {self.base_url} {what}"
        return InputError(fold(text.replace(self._key, "***") if self._key else text)[:500])


def compare(
    judge: Judge,
    tasks: Sequence[Task],
    answers: Sequence[str],
    others: Sequence[str],
    parallel: int,
    prices: Prices | None = None,
    max_cost: float | None = None,
) -> list[Judgement]:
    """Compare the answers of two systems; equal answers are ties, without asking the judge.

    Args:
        judge: the judge to ask.
        tasks: the tasks.
        answers: the answers of the system, one per task.
        others: the answers of the baseline, one per task.
        parallel: number of parallel requests.
        prices: prices for the logged costs: the estimate before the first request and the cost after the last one.
        max_cost: the maximum of the estimated cost; used only with `prices`.

    Returns:
        One judgement per task, with the outcome for the system.

    Raises:
        InputError: the estimate is above `max_cost`, the judge fails, or too many of its replies choose no answer.
    """
    pairs = list(zip(tasks, answers, others, strict=True))
    unequal = [pair for pair in pairs if pair[1] != pair[2]]
    questions = [
        question(task, first, second)
        for task, answer, other in unequal
        for first, second in ((answer, other), (other, answer))
    ]
    pending = [messages for messages in questions if not judge.has_reply(messages)]
    estimate = (
        sum(len(str(message["content"])) for messages in pending for message in messages) / CHARACTERS_PER_TOKEN,
        len(pending) * REPLY_TOKENS,
    )
    log.info(
        "%d comparisons, %d with equal answers; %d questions for %s, %d still to ask: about %.0f thousand tokens%s",
        len(pairs), len(pairs) - len(unequal), len(questions), judge.model, len(pending), sum(estimate) / 1000,
        f", {prices.cost(*estimate):.2f} at the config's prices" if prices else "",
    )  # fmt: skip
    if prices and max_cost is not None and prices.cost(*estimate) > max_cost:
        raise InputError(
            f"judge: {len(pending)} questions would cost about {prices.cost(*estimate):.2f}, judge.max_cost is"
            f" {max_cost:g}; raise it, or use a cheaper judge"
        )
    for subset, max_unclear in ((questions[:TRIAL_QUESTIONS], TRIAL_MAX_UNCLEAR), (questions, MAX_UNCLEAR)):
        replies = judge.ask(subset, parallel)
        unclear = [reply.text for reply in replies if not choice(reply.text)]
        if len(unclear) > max_unclear * len(replies):
            raise InputError(
                f"judge: {len(unclear)} of {len(replies)} replies of {judge.model} are neither A nor B, such as"
                f" {unclear[0][:60]!r}; use another judge, or allow longer replies in judge.request"
            )
    used = sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies)
    log.info(
        "%d prompt tokens and %d reply tokens, earlier runs included%s",
        *used,
        f", {prices.cost(*used):.2f} at the config's prices" if prices else "",
    )

    pairs_of_replies = iter(zip(replies[::2], replies[1::2], strict=True))
    judgements = []
    for _, answer, other in pairs:
        if answer == other:
            judgements.append(Judgement("tie", ("", "")))
        else:
            with_first, with_second = (reply.text for reply in next(pairs_of_replies))
            judgements.append(Judgement(outcome(with_first, with_second), (with_first, with_second)))
    return judgements


def count(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return the columns `n`, one count per outcome, and `p`, the p-value of wins against losses by the sign test."""
    counts = Counter(outcomes)
    return {
        "n": sum(counts.values()),
        **{name: counts[name] for name in OUTCOMES},
        "p": sign_test(counts["win"], counts["lose"]),
    }

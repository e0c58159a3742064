"""A language model as the judge of two answers to one instruction, asked twice with their places swapped.

Judges prefer a place, mostly the first, whatever stands there. So a system wins where its answer is preferred in both
places; one preference each is a tie (Zan et al., arXiv 2403.14399, general tasks). The judge may not abstain.

Any server with the chat-completions interface of OpenAI serves. Every reply is kept in a journal as it arrives, under
the hash of the whole request: what was asked once is never paid for again.
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

# A line for each request would bury the progress.
logging.getLogger("httpx2").setLevel(logging.WARNING)

LETTER = re.compile(r"\W*(?:answer\W+)?([AB])\W*", re.IGNORECASE)
# Of English text in the tokenisers of today's models; good enough to tell one dollar from ten.
CHARACTERS_PER_TOKEN = 4
REPLY_TOKENS = 2
# More replies than this without a choice mean that the judge does not understand its task; of a few asked first, half.
UNCLEAR = 0.1
FIRST = 10


class Reply(NamedTuple):
    """What a judge said, and the tokens that were counted for it."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in any currency."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The cost of so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class Judgement(NamedTuple):
    """How an answer fared against another, and the judge's replies with it in the first place and in the second."""

    outcome: Outcome
    replies: tuple[str, str]


def question(task: Task, first: str, second: str) -> list[ChatCompletionUserMessageParam]:
    """The messages that ask which of two answers is better."""
    instruction = task.instruction if task.input is None else f"{task.instruction}\n\n{task.input}"
    # A single message: the templates of some models have no place for a system's.
    return [{"role": "user", "content": QUESTION.format(instruction=instruction, first=first, second=second)}]


def choice(reply: str) -> str:
    """The answer a reply prefers, `A` or `B`; empty if it does not say.

    The letter stands alone, `Answer` and punctuation aside: in a reply of several lines on the first (reasons follow)
    or the last (they came before).
    """
    lines = reply.strip().split("\n")
    found = {match[1].upper() for line in (lines[0], lines[-1]) if (match := LETTER.fullmatch(line))}
    return found.pop() if len(found) == 1 else ""


def outcome(first: str, second: str) -> Outcome:
    """How an answer fared, from the reply with it in the first place and the reply with it in the second."""
    choices = choice(first), choice(second)
    if "" in choices:
        return "unclear"
    if choices == ("A", "B"):
        return "win"
    return "lose" if choices == ("B", "A") else "tie"


def sign_test(wins: int, losses: int) -> float:
    """The probability of counts at least as uneven if either were as likely: two-sided, exact, ties left out."""
    count = wins + losses
    tail = sum(math.comb(count, number) for number in range(min(wins, losses) + 1)) / 2**count
    return min(1.0, 2 * tail)


class Judge:
    """A model behind a chat-completions interface.

    Args:
        base_url: of the interface, such as `https://api.openai.com/v1`.
        key: its secret; never shown, even where the server repeats it. None for a server that wants none.
        model: as the server calls it.
        request: further fields of every request, such as `temperature`.
        journal: where replies are kept.
        timeout: seconds a request may take.
        retries: how often a request is repeated that failed for a reason that may pass, after longer and longer waits.
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
        self._known = {row["request"]: Reply(*row["reply"]) for row in journal.read()}
        self._lock, self._failed = Lock(), Event()

    def is_known(self, messages: list[ChatCompletionUserMessageParam]) -> bool:
        """Whether a reply to these messages is kept."""
        return self._name(messages) in self._known

    def ask(self, questions: Sequence[list[ChatCompletionUserMessageParam]], parallel: int) -> list[Reply]:
        """A reply to each of the questions, `parallel` of them asked at a time.

        Raises:
            InputError: the server refuses or does not answer. The replies until then are kept.
        """
        open_ones = {name: its for its in questions if (name := self._name(its)) not in self._known}
        progress = Progress(len(open_ones), "replies")
        self._failed.clear()
        with ThreadPoolExecutor(parallel) as pool:
            futures = [pool.submit(self._answer, name, its) for name, its in open_ones.items()]
            try:
                for future in as_completed(futures):
                    future.result()
                    progress.update()
            except BaseException:
                self._failed.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [self._known[self._name(its)] for its in questions]

    def _name(self, messages: list[ChatCompletionUserMessageParam]) -> str:
        whole = [self.base_url, self.model, self._request, messages]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def _answer(self, name: str, messages: list[ChatCompletionUserMessageParam]) -> None:
        if self._failed.is_set():
            return
        try:
            reply = self._complete(messages)
        except BaseException:
            self._failed.set()
            raise
        with self._lock:  # at once: of the requests under way when another fails, none is lost
            self._journal.add({"request": name, "reply": reply})
            self._known[name] = reply

    def _complete(self, messages: list[ChatCompletionUserMessageParam]) -> Reply:
        kept = "replies so far are kept, rerun to go on"
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
                429: f"wait, or lower judge.parallel; {kept}",
            }.get(error.status_code, "check the config's `judge`" if error.status_code < 500 else kept)
            raise self._failure(f"answers {error.status_code} ({self._said(error)}); {remedy}") from None
        except openai.APIConnectionError as error:
            raise self._failure(f"does not answer ({error.__cause__ or error}); check judge.base_url; {kept}") from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._failure(f"answers what cannot be read ({error}); check judge.base_url") from None
        said = (completion.model_extra or {}).get("error") if isinstance(completion, ChatCompletion) else None
        if said:
            raise self._failure(f"answers with an error ({said}); {kept}")
        try:
            text = completion.choices[0].message.content or ""
            usage = completion.usage
            tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
        except (AttributeError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise self._failure("answers no chat completion; check judge.base_url, which mostly ends in /v1")
        return Reply(text, *tokens)

    @staticmethod
    def _said(error: openai.APIStatusError) -> str:
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
    """How each of the answers fares against the other answer to the same task; equal ones are ties without asking.

    Args:
        judge: whom to ask.
        tasks: what was answered.
        answers: of the system.
        others: of the one it is compared with.
        parallel: requests at a time.
        prices: of the estimate that is told before and the cost that is told after.
        max_cost: nothing is asked if the estimate is above.

    Raises:
        InputError: the estimate is above `max_cost`, the judge fails, or too many of its replies choose none.
    """
    pairs = list(zip(tasks, answers, others, strict=True))
    asked = [pair for pair in pairs if pair[1] != pair[2]]
    questions = [question(task, *places) for task, *two in asked for places in (two, two[::-1])]
    left = [messages for messages in questions if not judge.is_known(messages)]
    estimate = (
        sum(len(str(message["content"])) for messages in left for message in messages) / CHARACTERS_PER_TOKEN,
        len(left) * REPLY_TOKENS,
    )
    log.info(
        "%d comparisons, %d of equal answers; %d questions for %s, %d still to ask: about %.0f thousand tokens%s",
        len(pairs), len(pairs) - len(asked), len(questions), judge.model, len(left), sum(estimate) / 1000,
        f", {prices.of(*estimate):.2f} at the config's prices" if prices else "",
    )  # fmt: skip
    if prices and max_cost is not None and prices.of(*estimate) > max_cost:
        raise InputError(
            f"judge: {len(left)} questions would cost about {prices.of(*estimate):.2f}, judge.max_cost is {max_cost:g};"
            " raise it, or take a cheaper judge"
        )
    for part, share in ((questions[:FIRST], 0.5), (questions, UNCLEAR)):
        replies = judge.ask(part, parallel)
        unclear = [reply.text for reply in replies if not choice(reply.text)]
        if len(unclear) > share * len(replies):
            raise InputError(
                f"judge: {len(unclear)} of {len(replies)} replies of {judge.model} are neither A nor B, such as"
                f" {unclear[0][:60]!r}; take another judge, or give it room in judge.request"
            )
    used = sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies)
    log.info(
        "%d + %d tokens, earlier runs included%s",
        *used,
        f", {prices.of(*used):.2f} at the config's prices" if prices else "",
    )

    found = iter(zip(replies[::2], replies[1::2], strict=True))
    judgements = []
    for _, answer, other in pairs:
        if answer == other:
            judgements.append(Judgement("tie", ("", "")))
        else:
            first, second = next(found)
            judgements.append(Judgement(outcome(first.text, second.text), (first.text, second.text)))
    return judgements


def count(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Comparisons, how many have each outcome, and the p-value of the wins against the losses."""
    counts = Counter(outcomes)
    return {
        "n": sum(counts.values()),
        **{name: counts[name] for name in OUTCOMES},
        "p": sign_test(counts["win"], counts["lose"]),
    }

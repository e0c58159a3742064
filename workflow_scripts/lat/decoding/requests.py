"""The lines to decode, the engines that continue their prompts, and the text of an output."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from ..files import InputError, fold, read_jsonl
from ..models import encode_prompt
from ..prompts.kinds import Prompt
from ..prompts.prompting import response_end_marks
from ..runtime import Progress

# Groups are decoded together if no more tokens of each prompt have to be read for it. Reading a token takes less time
# than generating one, and the names of two languages with the words around them are fewer tokens.
JOINED_TOKENS = 32


@dataclass(frozen=True)
class Settings:
    """Settings of the search.

    Attributes:
        beam: number of beams; 1 is greedy search.
        max_new_tokens: maximum length of an output, in tokens.
        batch_tokens: maximum number of tokens whose keys and values a batch stores, see
            `BatchEngine.stored_tokens`.
    """

    beam: int
    max_new_tokens: int
    batch_tokens: int


@dataclass(frozen=True)
class Request:
    """One line to decode.

    Attributes:
        prompt: the real prompt.
        contrasts: (prompt, weight) of each contrast; empty for beam search.
        language: language of the template. The next header of the template ends a response.
        marks: texts that end a response, where they are not the headers of the template.
        group: name of lines whose prompts begin alike, which are decoded together: the direction. An engine may decode
            several small groups together.
    """

    prompt: Prompt
    contrasts: tuple[tuple[Prompt, float], ...] = ()
    language: str = "en"
    group: str = ""
    marks: tuple[str, ...] | None = None


def read_requests(folder: Path, directions: Iterable[str]) -> tuple[dict[str, list[Request]], str | None]:
    """Read the prompts of a system.

    Args:
        folder: <direction>.jsonl as `prompts` writes them.
        directions: which of them, in the order of the result.

    Returns:
        The requests of each direction, in the order of its lines; and the end-of-turn token of the template, or None
        for the end token of the tokenizer. All prompts of a system have the same template.

    Raises:
        InputError: a file is missing or damaged.
    """
    rows = {direction: read_jsonl(folder / f"{direction}.jsonl") for direction in directions}
    requests = {
        direction: [
            Request(
                row["prompt"],
                tuple((prompt, weight) for prompt, weight in row["contrasts"]),
                row["prompt_language"],
                direction,
                tuple(row["marks"]) if "marks" in row else None,
            )
            for row in of_direction
        ]
        for direction, of_direction in rows.items()
    }
    end = next((row["end"] for of_direction in rows.values() for row in of_direction if "end" in row), None)
    return requests, end


# The (prompt ids, weight) pairs of a request: the real prompt with weight 1, then the contrasts.
EncodedRequest = Sequence[tuple[Sequence[int], float]]


@dataclass(frozen=True)
class Job:
    """An encoded request.

    Attributes:
        prompts: see `EncodedRequest`.
        limit: maximum length of the output, in tokens.
        group: see `Request`.
    """

    prompts: EncodedRequest
    limit: int
    group: str = ""

    @property
    def length(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(prompt) for prompt, _ in self.prompts)


@dataclass(frozen=True)
class Hypothesis:
    """Decoded text, and whether the maximum length truncated it."""

    text: str
    truncated: bool


class Engine(Protocol):
    """Runs a model: continues the prompts of jobs."""

    window: int | None  # maximum number of tokens of prompt and output together; None for no limit

    def run(self, jobs: Mapping[int, Job], settings: Settings, done: Collection[int]) -> Iterator[dict[int, list[int]]]:
        """Yield the token ids that follow each job, including the end token if it was generated, as they are found.

        Args:
            jobs: the jobs by their number.
            settings: see the class.
            done: numbers of finished jobs, which need not be run again.
        """


def rows_of(job: Job, settings: Settings) -> int:
    """Number of sequences per line: its real prompt and contrasts or, without contrasts, its beams."""
    return len(job.prompts) if len(job.prompts) > 1 else settings.beam


class BatchEngine:
    """What engines share that decode one batch at a time.

    A batch has jobs of one group, or of several small groups, whose prompts have similar lengths.
    """

    window: int | None = None
    # Whether groups that do not fill a batch share one: more rows at a time make better use of a processor.
    joins_groups = False

    def run(self, jobs: Mapping[int, Job], settings: Settings, done: Collection[int]) -> Iterator[dict[int, list[int]]]:
        """See `Engine`.

        A batch is skipped if all of its jobs are finished. The other batches are the same as without `done`, so that an
        interrupted run ends with the same text.
        """
        for members in self._decoded_together(jobs, settings):
            shared = shared_by(members.values())
            for batch in self._batches(members, settings, shared):
                if all(number in done for number in batch):
                    continue
                prompts = [members[number].prompts for number in batch]
                first = members[batch[0]]
                outputs = self.search(prompts, settings.beam, first.limit, shared, first.group)
                yield dict(zip(batch, outputs, strict=True))

    def _decoded_together(self, jobs: Mapping[int, Job], settings: Settings) -> Iterator[dict[int, Job]]:
        """Yield the jobs of each group; those of groups that share batches together, in the place of their first one.

        Groups share batches if none of them fills a batch, and if at most `JOINED_TOKENS` more tokens of each prompt
        are read than alone, since the prompts of a group have a longer beginning in common than those of all groups.
        """
        groups: dict[str, dict[int, Job]] = {}
        for number, job in jobs.items():
            groups.setdefault(job.group, {})[number] = job
        small = [group for group, members in groups.items() if self.joins_groups and self._fit(members, settings)]
        common = shared_by(job for group in small for job in groups[group].values())
        joined = [group for group in small if shared_by(groups[group].values()) - common <= JOINED_TOKENS]
        for group, members in groups.items():
            if group not in joined:
                yield members
            elif group == joined[0]:
                yield {number: job for name in joined for number, job in groups[name].items()}

    def _fit(self, jobs: Mapping[int, Job], settings: Settings) -> bool:
        """Tell whether jobs fit into one batch."""
        return sum(1 for _ in self._batches(jobs, settings, shared_by(jobs.values()))) == 1

    def search(
        self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int, group: str = ""
    ) -> list[list[int]]:
        """Return the token ids that follow each request, including the end token if it was generated.

        Args:
            batch: the requests, which all have the same number of prompts.
            beam: number of beams.
            max_new_tokens: maximum length of an output, in tokens.
            shared: number of leading tokens that all prompts share, those of later batches included. It is smaller than
                the length of every prompt.
            group: see `Request`.
        """
        raise NotImplementedError

    def stored_tokens(self, job: Job, settings: Settings, shared: int) -> int:
        """Number of tokens whose keys and values are stored for a job.

        Args:
            job: the longest job of a batch.
            settings: see the class.
            shared: number of leading tokens that all prompts share.
        """
        return rows_of(job, settings) * (job.length + settings.max_new_tokens)

    def _batches(self, jobs: Mapping[int, Job], settings: Settings, shared: int) -> Iterator[list[int]]:
        """Group the numbers of jobs into batches of similar length.

        A batch stores at most `settings.batch_tokens` tokens, unless it is a single job that needs more.

        The longest jobs come first, so that a batch that does not fit in memory fails at once and not after an hour.
        The jobs of a batch have the same limit of new tokens, so that a prompt that nearly fills the context window
        does not shorten the output of other lines.
        """
        rows = {number: rows_of(job, settings) for number, job in jobs.items()}
        batch: list[int] = []
        for number in sorted(jobs, key=lambda number: (-rows[number], -jobs[number].length, number)):
            if batch:
                longest = jobs[batch[0]]
                line = self.stored_tokens(longest, settings, shared)
                same_kind = (rows[number], jobs[number].limit) == (rows[batch[0]], longest.limit)
                if line * (len(batch) + 1) > settings.batch_tokens or not same_kind:
                    yield batch
                    batch = []
            batch.append(number)
        if batch:
            yield batch


def decode(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings,
    progress: Progress | None = None,
) -> list[Hypothesis]:
    """Decode every request: by contrastive decoding if it has contrasts, otherwise by beam search.

    Args:
        engine: runs the model.
        tokenizer: the tokenizer of the model.
        requests: the lines to decode, in any order.
        settings: see the class.
        progress: if given, counts the finished lines.

    Returns:
        One hypothesis per request, in the order of the requests.

    Raises:
        InputError: a prompt leaves no room for output in the model's context window.
    """
    results: dict[int, Hypothesis] = {}
    for found in decode_in_parts(engine, tokenizer, requests, settings):
        results |= found
        if progress:
            progress.update(len(found))
    return [results[index] for index in range(len(requests))]


def decode_in_parts(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings,
    done: Collection[int] = (),
    line_breaks: bool = False,
    ends: Sequence[int] = (),
) -> Iterator[dict[int, Hypothesis]]:
    """Decode like `decode`, and yield the hypotheses as they are found, by the index of their request.

    Args:
        engine: runs the model.
        tokenizer: the tokenizer of the model.
        requests: the lines to decode, in any order.
        settings: see `Settings`.
        done: indices of finished requests.
        line_breaks: keep the line breaks of an output instead of folding it into one line.
        ends: ids of the tokens that end an output; by default, the end token of the tokenizer.

    Raises:
        InputError: a prompt leaves no room for output in the model's context window.
    """
    window = engine.window
    jobs = {}
    places: dict[str, int] = {}
    for index, request in enumerate(requests):
        places[request.group] = places.get(request.group, 0) + 1
        prompts = [
            (encode_prompt(tokenizer, text), weight) for text, weight in ((request.prompt, 1.0), *request.contrasts)
        ]
        length = max(len(prompt) for prompt, _ in prompts)
        if window and length >= window:
            place = f"{request.group}: " * bool(request.group) + f"line {places[request.group]}"
            raise InputError(f"{place}: a prompt of {length} tokens leaves no room in the window of {window}")
        limit = min(settings.max_new_tokens, window - length) if window else settings.max_new_tokens
        jobs[index] = Job(prompts, limit, request.group)
    ends = tuple(ends) or (tokenizer.eos_token_id,)
    for outputs in engine.run(jobs, settings, done):
        results = {}
        for index, output in outputs.items():
            end = next((number for number, token in enumerate(output) if token in ends), None)
            finished = end is not None
            output = output[:end]
            marks: Sequence[str] | None = requests[index].marks
            if marks is None:
                marks = response_end_marks(requests[index].language, one_line=not line_breaks)
            text, cut = until_mark(tokenizer.decode(output, skip_special_tokens=True), marks)
            results[index] = Hypothesis(text.strip() if line_breaks else fold(text), truncated=not finished and not cut)
        yield results


def shared_by(jobs: Iterable[Job]) -> int:
    """Number of leading tokens that the prompts of all jobs share, see `shared_prefix`; 0 if one has contrasts."""
    prompts = [job.prompts for job in jobs]
    return shared_prefix([real for (real, _), *_ in prompts]) if all(len(of_job) == 1 for of_job in prompts) else 0


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Number of leading tokens that all prompts share, less than the length of every prompt; 0 for a single prompt."""
    if len(prompts) < 2:
        return 0
    ordered = sorted(map(tuple, prompts))
    first, last = ordered[0], ordered[-1]  # The prefix of these two is the prefix of all.
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return min(same, *(len(prompt) - 1 for prompt in prompts))


def until_mark(text: str, marks: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first of the marks, and whether the text contains a mark."""
    ends = [place for mark in marks if (place := text.find(mark)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)

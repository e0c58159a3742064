"""vLLM, which schedules all lines of all directions itself; it has an environment of its own."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from ..files import InputError, fold
from ..manifest import check_manifest
from .beams import Beams
from .requests import Job, Settings

# Greedy search of this many lines is one call, after which a killed job need not repeat them.
LINES_PER_CALL = 20_000
# Tokens per block of the cache on a CPU, the smallest number that vLLM has there: only whole blocks are reused.
CPU_BLOCK = 32


class VllmEngine:
    """Greedy search and beam search of vLLM.

    Greedy search is one call for all lines. vLLM's own beam search always continues to the maximum length, and it
    divides the score of a hypothesis by the length of prompt and output together, which makes outputs shorter. Here,
    vLLM gives the probabilities of the next tokens, and the rules of the search are those of the reference engine.

    Args:
        folder: folder of the model.
        ends: ids of the tokens that end an output.
        window: maximum number of tokens of prompt and output together; None for no limit.
        dtype: fp32, bf16 or fp16.
        early_stopping: see `Beams`.
        gpus: number of GPUs among which the model is divided; 0 for the CPU.

    Raises:
        InputError: vLLM is not installed, or it cannot run the model.
    """

    def __init__(
        self, folder: Path, ends: Sequence[int], window: int | None, dtype: str, early_stopping: bool, gpus: int
    ) -> None:
        # In one process, an error of the model reaches this one, and nothing is sent between processes.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        # Nothing is sent to the developers of vLLM.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if not gpus:
            # Otherwise, one small function of log-probabilities is compiled for 40 seconds.
            os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
        try:
            from vllm import LLM, SamplingParams
        except ImportError:
            raise InputError(
                "engine: vllm is not installed here; run `make vllm` and set `vllm_python: .venv-vllm/bin/python`, or"
                " choose another engine"
            ) from None
        check_manifest(folder)
        self.ends, self.window, self.early_stopping = tuple(ends), window, early_stopping
        settings = {"tensor_parallel_size": gpus} if gpus else {"enforce_eager": True, "block_size": CPU_BLOCK}
        try:
            self.llm = LLM(
                model=str(folder),
                dtype={"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype],
                # vLLM finds shared prefixes itself and reuses their keys and values.
                enable_prefix_caching=True,
                disable_log_stats=True,
                **settings,
            )
            # Attention that the device lacks is noticed only when the model runs.
            self.llm.generate([{"prompt_token_ids": [self.ends[0]]}], SamplingParams(max_tokens=1), use_tqdm=False)
        except (ValueError, NotImplementedError, RuntimeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise InputError(
                f"{folder}: vLLM cannot run this model ({fold(lines[0])}); choose another engine"
            ) from None

    def run(self, jobs: Mapping[int, Job], settings: Settings, done: Collection[int]) -> Iterator[dict[int, list[int]]]:
        """See `Engine`.

        Raises:
            InputError: a job has contrasts.
        """
        waiting = {number: job for number, job in jobs.items() if number not in done}
        if any(len(job.prompts) > 1 for job in waiting.values()):
            raise InputError("contrastive decoding runs on `engine: transformers` only")
        return self._greedy(waiting) if settings.beam == 1 else self._beam_search(waiting, settings)

    def _greedy(self, jobs: Mapping[int, Job]) -> Iterator[dict[int, list[int]]]:
        from vllm import SamplingParams

        numbers = list(jobs)
        for start in range(0, len(numbers), LINES_PER_CALL):
            called = numbers[start : start + LINES_PER_CALL]
            outputs = self.llm.generate(
                [{"prompt_token_ids": list(jobs[number].prompts[0][0])} for number in called],
                [
                    SamplingParams(
                        temperature=0.0,
                        max_tokens=jobs[number].limit,
                        stop_token_ids=list(self.ends),
                        detokenize=False,
                    )
                    for number in called
                ],
                use_tqdm=False,
            )
            yield {number: list(output.outputs[0].token_ids) for number, output in zip(called, outputs, strict=True)}

    def _beam_search(self, jobs: Mapping[int, Job], settings: Settings) -> Iterator[dict[int, list[int]]]:
        """Search for as many lines at once as `batch_tokens` allows; when one is done, another takes its place."""
        waiting = list(jobs)[::-1]
        lines: list[int] = []
        beams = Beams([], settings.beam, self.ends, self.early_stopping)
        stored = 0
        while waiting or lines:
            added: list[int] = []
            while waiting:
                needed = stored_tokens(jobs[waiting[-1]], settings)
                if (lines or added) and stored + needed > settings.batch_tokens:
                    break
                stored += needed
                added.append(waiting.pop())
            beams.add([jobs[number].limit for number in added])
            lines += added
            log_probabilities, candidates = self._next_tokens([jobs[line].prompts[0][0] for line in lines], beams)
            _, is_done = beams.advance(log_probabilities, candidates)
            found = {lines[place]: beams.best(place) for place in is_done.nonzero().flatten().tolist()}
            if found:
                beams.keep((~is_done).nonzero().flatten())
                lines = [line for line in lines if line not in found]
                stored -= sum(stored_tokens(jobs[line], settings) for line in found)
                yield found

    def _next_tokens(self, prompts: Sequence[Sequence[int]], beams: Beams) -> tuple[torch.Tensor, torch.Tensor]:
        """The most likely next tokens of all hypotheses, and their log-probabilities, [lines, beam, 2 * beam]."""
        from vllm import SamplingParams

        sequences = [
            [*prompt, *tokens]
            for prompt, hypotheses in zip(prompts, beams.sequences(), strict=True)
            for tokens in hypotheses
        ]
        # Before the first token, the hypotheses of a line are the same, and vLLM is asked once.
        keys = [tuple(sequence) for sequence in sequences]
        different = list(dict.fromkeys(keys))
        count = beams.candidates
        outputs = self.llm.generate(
            [{"prompt_token_ids": list(key)} for key in different],
            SamplingParams(temperature=0.0, max_tokens=1, logprobs=count, detokenize=False),
            use_tqdm=False,
        )
        found = {}
        for key, output in zip(different, outputs, strict=True):
            # The chosen token is listed in addition if it is not among the most likely ones.
            tokens = sorted(output.outputs[0].logprobs[0].items(), key=lambda token: token[1].rank)[:count]
            found[key] = [index for index, _ in tokens], [token.logprob for _, token in tokens]
        shape = len(prompts), beams.beam, count
        candidates = torch.tensor([found[key][0] for key in keys]).view(shape)
        return torch.tensor([found[key][1] for key in keys]).view(shape), candidates


def stored_tokens(job: Job, settings: Settings) -> int:
    """Number of tokens whose keys and values vLLM stores for a line, without what it shares with other lines."""
    return job.length + settings.beam * settings.max_new_tokens

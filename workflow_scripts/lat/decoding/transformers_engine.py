"""The reference engine: transformers, with keys and values that rows share stored once."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..files import InputError
from ..runtime import log
from .levels import Layers, attention_by_levels, beam_search_by_levels, read_prefix
from .plain import beam_search, contrastive_search
from .probes import probe_contrastive, probe_levels, probe_search
from .requests import BatchEngine, EncodedRequest, Job, Settings
from .windows import context_window, sliding_window


class TransformersEngine(BatchEngine):
    """The reference engine, and the only one for contrastive decoding.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of the model.
        early_stopping: end a beam search as soon as there are as many finished hypotheses as beams, which is the rule
            of CTranslate2. Otherwise it ends when no better hypothesis is expected, which is the library's default.
        ends: ids of the tokens that end an output; by default, the end token of the tokenizer.
        boosts: what is added to the logits of the requests of a group, [vocabulary], by group, for groups that have a
            language boost.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        early_stopping: bool = False,
        ends: Sequence[int] = (),
        boosts: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.model, self.tokenizer, self.early_stopping = model.eval(), tokenizer, early_stopping
        self.ends = tuple(ends) or (tokenizer.eos_token_id,)
        self._boosts = {group: boost.to(model.device) for group, boost in (boosts or {}).items()}
        # A batch has one boost.
        self.joins_groups = not self._boosts
        # Otherwise the defaults of a hub model (sampling, repetition penalty) would apply where a call sets nothing.
        self.model.generation_config = GenerationConfig()
        self.window = context_window(model.config)
        self._prefix: tuple[tuple[int, ...], Layers] = ((), {})
        self._levels = probe_levels(model, tokenizer.pad_token_id)
        self._pads = probe_search(model, tokenizer.pad_token_id)
        self._contrasts = probe_contrastive(model, tokenizer.pad_token_id)
        if not self._levels:
            log.info("%s: keys and values are stored for each hypothesis, what prompts share too", self._kind)

    @property
    def _kind(self) -> str:
        return str(self.model.config.model_type)

    def stored_tokens(self, job: Job, settings: Settings, shared: int) -> int:
        """See `BatchEngine`; a search by levels stores a prompt once, and what all prompts share is not counted."""
        if len(job.prompts) > 1 or not self._searches_by_levels(job.length + settings.max_new_tokens):
            return super().stored_tokens(job, settings, shared)
        return job.length - shared + settings.beam * settings.max_new_tokens

    def _searches_by_levels(self, tokens: int) -> bool:
        # Levels have no distances between tokens, so that all tokens must be within a sliding window.
        window = sliding_window(self.model.config)
        return self._levels and (window is None or tokens <= window)

    def search(
        self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int, group: str = ""
    ) -> list[list[int]]:
        """Run contrastive search if the requests have contrasts, otherwise beam search.

        Raises:
            InputError: the output of a prompt would depend on the other prompts of its batch.
        """
        pad, boost = self.tokenizer.pad_token_id, self._boosts.get(group)
        if len(batch[0]) > 1:
            if not self._contrasts:
                raise self._mixes("contrastive decoding")
            return contrastive_search(self.model, batch, max_new_tokens, self.ends, pad)
        prompts = [request[0][0] for request in batch]
        if self._searches_by_levels(max(map(len, prompts)) + max_new_tokens):
            prefix = self._keys_and_values(tuple(prompts[0][:shared]))
            return beam_search_by_levels(
                self.model, prompts, beam, max_new_tokens, shared, prefix, self.ends, pad, self.early_stopping, boost
            )
        if not self._pads:
            raise self._mixes("beam search")
        return beam_search(
            self.model, prompts, beam, max_new_tokens, self.tokenizer, self.early_stopping, self.ends, boost
        )

    def _mixes(self, kind: str) -> InputError:
        return InputError(
            f"{self._kind}: {kind} in batches gives other results than line by line; choose another base model, or"
            " `engine: vllm`"
        )

    @torch.inference_mode()
    def _keys_and_values(self, prefix: tuple[int, ...]) -> Layers:
        if self._prefix[0] != prefix:
            with attention_by_levels(self.model):
                self._prefix = prefix, read_prefix(self.model, prefix) if prefix else {}
        return self._prefix[1]

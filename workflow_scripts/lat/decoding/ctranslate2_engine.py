"""CTranslate2, which runs a converted model."""

import math
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from ..files import InputError
from ..manifest import check_manifest
from .requests import BatchEngine, EncodedRequest

# A batch is divided into this many pieces per thread, so that a thread that is done early takes another piece.
PIECES_PER_THREAD = 2


class CTranslate2Engine(BatchEngine):
    """Beam search of CTranslate2.

    The text is the same as that of the reference engine with early stopping, which is the only rule of CTranslate2,
    unless the weights are rounded to 8 bits.

    Args:
        folder: folder of the converted model.
        tokenizer: tokenizer of the model that was converted.
        window: maximum number of tokens of prompt and output together; None for no limit.
        compute_type: of CTranslate2, such as `float32` or `int8`.
        threads: CPU threads; ignored on a GPU.
        ends: ids of the tokens that end an output; by default, the end token of the tokenizer.

    Raises:
        InputError: this machine cannot compute with the type.
    """

    def __init__(
        self,
        folder: Path,
        tokenizer: PreTrainedTokenizerBase,
        window: int | None,
        compute_type: str,
        threads: int,
        ends: Sequence[int] = (),
    ) -> None:
        import ctranslate2

        check_manifest(folder)
        self.tokenizer, self.window = tokenizer, window
        self.ends = tuple(ends) or (tokenizer.eos_token_id,)
        device = "cuda" if ctranslate2.get_cuda_device_count() > 0 else "cpu"
        # Otherwise, CTranslate2 takes another type and says so only in its own log.
        supported = ctranslate2.get_supported_compute_types(device)
        if compute_type not in supported:
            raise InputError(
                f"decode.compute_type: this machine ({device}) cannot compute with {compute_type}; choose one of"
                f" {', '.join(sorted(supported))}"
            )
        self._threads = 1 if device == "cuda" else threads
        self.generator = ctranslate2.Generator(
            str(folder),
            device=device,
            compute_type=compute_type,
            # Threads work on different pieces of a batch: a step of a small model is too short to divide among them.
            inter_threads=self._threads,
            intra_threads=1,
        )

    def search(
        self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int, group: str = ""
    ) -> list[list[int]]:
        """Run beam search. The scores of hypotheses are normalised by their length, as in transformers.

        Raises:
            InputError: a request has contrasts.
        """
        if len(batch[0]) > 1:
            raise InputError("contrastive decoding runs on `engine: transformers` only")
        prompts = [self.tokenizer.convert_ids_to_tokens(request[0][0]) for request in batch]
        # If only one token of the shortest prompt follows the prefix, version 4.8.5 decodes longer prompts wrongly.
        shared = max(0, min(shared, *(len(prompt) - 2 for prompt in prompts)))
        results = self.generator.generate_batch(
            [prompt[shared:] for prompt in prompts],
            static_prompt=prompts[0][:shared] or None,
            beam_size=beam,
            max_length=max_new_tokens,
            end_token=list(self.ends),
            include_prompt_in_result=False,
            max_batch_size=math.ceil(len(prompts) / (self._threads * PIECES_PER_THREAD)),
        )
        outputs = [result.sequences_ids[0] for result in results]
        return [output if len(output) == max_new_tokens else [*output, self.ends[0]] for output in outputs]

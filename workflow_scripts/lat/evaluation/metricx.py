"""MetricX-24 (Juraska et al. 2024): errors from 0 to 25 that a fine-tuned mT5 predicts; lower is better.

The published models read the source, the translation and, unless they are to estimate the quality without it, the
reference. They generate no text: the score is the logit of one token that mT5 does not use otherwise, at the first
position of the decoder. The facts are those of https://github.com/google-research/metricx (metricx24/models.py and
predict.py).
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from ..files import InputError, first_line
from ..runtime import Progress, log
from .learned import Segment, batches_by_length, version_of, weights_hash

TOKENIZER = "google/mt5-xl"
# The file of the tokenizer of mT5; T5 and umT5 have files of the same name with other pieces.
PIECES = "spiece.model"
# The token whose logit is the score, and its piece.
SCORE_TOKEN, SCORE_PIECE = 250_089, "▁<extra_id_10>"
WORST = 25.0
# The published code cuts inputs at 1536 tokens with the end-of-sequence token, which it then removes.
WINDOW = 1535
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
REMEDY = "use one such as google/metricx-24-hybrid-large-v2p6"


class MetricX:
    """MetricX-24 by transformers. The checkpoint is verified when it is loaded."""

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        tokenizer: str | None = None,
        tokenizer_revision: str | None = None,
        reference: bool = True,
        dtype: str | None = None,
    ) -> None:
        """Load and verify a checkpoint.

        Args:
            model: Hugging Face id or folder.
            revision: revision of its Hugging Face repository.
            tokenizer: Hugging Face id or folder of the tokenizer of mT5; by default `TOKENIZER`.
            tokenizer_revision: revision of its Hugging Face repository.
            reference: whether the model reads the reference.
            dtype: `fp32` or `bf16`; by default that of the checkpoint.

        Raises:
            InputError: the checkpoint or the tokenizer is missing, incomplete or not the expected one.
        """
        import torch
        from safetensors import SafetensorError
        from transformers import MT5ForConditionalGeneration, PreTrainedConfig
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        # transformers warns of the output layer apart from the embeddings, which `_check_weights` requires.
        transformers_logging.set_verbosity_error()
        options = {"revision": revision} if revision else {}
        try:
            config, _ = PreTrainedConfig.get_config_dict(model, **options)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{model}: no MetricX checkpoint ({first_line(error)}); check its name and the network, or set `model`"
                " to a folder that has one"
            ) from None
        if config.get("model_type") != "mt5":
            raise InputError(
                f"{model}: no MetricX checkpoint: its model type is {config.get('model_type')!r}, not 'mt5'; {REMEDY}"
            )
        vocabulary = config.get("vocab_size", 0)
        if vocabulary <= SCORE_TOKEN:
            raise InputError(
                f"{model}: no MetricX checkpoint: its vocabulary of {vocabulary} lacks the token {SCORE_TOKEN}, whose"
                f" logit is the score; {REMEDY}"
            )
        try:
            network, loading = MT5ForConditionalGeneration.from_pretrained(
                model, dtype=DTYPES[dtype] if dtype else "auto", output_loading_info=True, **options
            )
        except (OSError, TypeError, ValueError, KeyError, RuntimeError, SafetensorError, UnpicklingError) as error:
            raise InputError(f"{model}: an incomplete MetricX checkpoint ({first_line(error)})") from None
        self._check_weights(model, network, loading)
        self._torch, self._network = torch, network.eval()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(self._device)

        place = tokenizer or TOKENIZER
        content = pieces_file(place, tokenizer_revision).read_bytes()
        self._pieces = load_pieces(place, content, vocabulary)
        unknown = self._pieces.unk_id()
        self._ids = [
            unknown if self._pieces.is_byte(number) else number for number in range(self._pieces.get_piece_size())
        ]
        self._reference = reference
        self.cut_lines = 0
        found = ", ".join(sorted({str(weight.dtype).removeprefix("torch.") for weight in network.parameters()}))
        self.signature = (
            f"model:{Path(model).name}|weights:{weights_hash(network)}|dtype:{found}"
            f"|tokenizer:{Path(place).name}:{hashlib.sha256(content).hexdigest()[:12]}"
            f"|ref:{'yes' if reference else 'no'}|better:lower|transformers:{version_of('transformers')}"
        )

    @staticmethod
    def _check_weights(model: str, network: Any, loading: dict[str, Any]) -> None:
        """Check that all weights of the network are those of the checkpoint.

        Raises:
            InputError: they are not.
        """
        for what in ("missing", "unexpected", "mismatched"):
            # A mismatched weight is given with its two shapes.
            names = sorted(key if isinstance(key, str) else key[0] for key in loading[f"{what}_keys"])
            if names:
                raise InputError(
                    f"{model}: no MetricX checkpoint of this version of transformers: {len(names)} weights are {what},"
                    f" such as {names[0]}; fetch it again, or {REMEDY}"
                )
        # In transformers 5, the output layer of mT5 shares the weights of the embeddings if the checkpoint lacks one of
        # them or has the same for both. In the published code, such a model would scale its scores; none is known.
        embeddings = network.shared.weight
        if network.lm_head.weight is embeddings:
            raise InputError(
                f"{model}: no MetricX checkpoint: it has no output layer (lm_head) apart from the embeddings; {REMEDY}"
            )
        for part in ("encoder", "decoder"):
            if getattr(network, part).embed_tokens.weight is not embeddings:
                raise InputError(
                    f"{model}: no MetricX checkpoint: {part}.embed_tokens has other embeddings than `shared`; {REMEDY}"
                )

    def input_ids(self, segment: Segment) -> list[int]:
        """Return the token ids of a segment, which may be more than the model reads.

        They are those of SentencePiece, except for characters without a piece. The published code, whose tokenizer
        knows no bytes, reads a sequence of them as one unknown token. The text of a special token, such as `</s>`, is
        text.
        """
        text = f"source: {segment.source} candidate: {segment.hypothesis}"
        if self._reference:
            text += f" reference: {segment.reference}"
        unknown = self._pieces.unk_id()
        ids: list[int] = []
        for piece in self._pieces.encode(text):
            number = self._ids[piece]
            if number != unknown or not ids or ids[-1] != unknown:
                ids.append(number)
        return ids

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """Return one score per segment, from 0 to 25, in the order of the segments; lower is better.

        Inputs that are longer than `WINDOW` are cut, as in the published code, and counted in `cut_lines` and in the
        log. A score that is not finite is `nan`.

        Args:
            segments: the lines to score.
            batch_tokens: maximum of rows x tokens of one batch.
        """
        encoded = [self.input_ids(segment) for segment in segments]
        self.cut_lines = sum(len(sequence) > WINDOW for sequence in encoded)
        if self.cut_lines:
            log.warning(
                "%d of %d inputs are longer than %d tokens; their ends are cut, and have no part in the scores",
                self.cut_lines, len(encoded), WINDOW,
            )  # fmt: skip
        encoded = [sequence[:WINDOW] for sequence in encoded]
        scores = [0.0] * len(encoded)
        progress = Progress(len(encoded), "lines")
        for batch in batches_by_length([len(sequence) for sequence in encoded], batch_tokens):
            for index, score in zip(batch, self._score_batch([encoded[index] for index in batch]), strict=True):
                scores[index] = score
            progress.update(len(batch))
        return scores

    def _score_batch(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        ids = self._torch.zeros((len(sequences), max(map(len, sequences))), dtype=self._torch.long)
        mask = self._torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = self._torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        with self._torch.inference_mode():
            logits = self._network(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                decoder_input_ids=self._torch.zeros((len(sequences), 1), dtype=self._torch.long, device=self._device),
                use_cache=False,
            ).logits
        # An infinite score, which would become 0 or 25, is an error of the checkpoint or of its dtype.
        found = logits[:, 0, SCORE_TOKEN].float().tolist()
        return [min(max(score, 0.0), WORST) if math.isfinite(score) else math.nan for score in found]


def pieces_file(tokenizer: str, revision: str | None = None) -> Path:
    """Return the SentencePiece model of a tokenizer, which is downloaded if it is on the hub.

    Raises:
        InputError: there is none.
    """
    from transformers.utils import cached_file

    try:
        return Path(cached_file(tokenizer, PIECES, **({"revision": revision} if revision else {})))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{tokenizer}: no tokenizer of mT5, which has a file {PIECES} ({first_line(error)}); use {TOKENIZER}, or"
            " set `tokenizer` to a folder that has this file"
        ) from None


def load_pieces(tokenizer: str, content: bytes, vocabulary: int) -> Any:
    """Load the SentencePiece model of mT5.

    Args:
        tokenizer: what the user calls the tokenizer, for messages.
        content: content of the file.
        vocabulary: size of the vocabulary of the network.

    Raises:
        InputError: it is damaged, or not that of mT5.
    """
    from sentencepiece import SentencePieceProcessor

    try:
        pieces = SentencePieceProcessor(model_proto=content)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{tokenizer}: {PIECES} is damaged ({first_line(error)}); fetch it again") from None
    size = pieces.get_piece_size()
    if not SCORE_TOKEN < size <= vocabulary or pieces.id_to_piece(SCORE_TOKEN) != SCORE_PIECE:
        raise InputError(
            f"{tokenizer}: no tokenizer of mT5, whose piece {SCORE_TOKEN} is {SCORE_PIECE}: it has {size} pieces, for a"
            f" network with a vocabulary of {vocabulary}; use {TOKENIZER}"
        )
    return pieces

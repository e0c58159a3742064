"""Learned metrics: BLEURT (Sellam et al. 2020) and COMET (Rei et al. 2020), each in a separate environment.

MetricX is in `metricx.py` and has the main environment. This module does not need it; the metric libraries are imported
inside the classes that use them.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, Protocol

from ..files import InputError, atomic_write, first_line
from ..runtime import Progress, log

# Layers, hidden size, heads and vocabulary size, to tell the published checkpoints from other BERT-like models.
BLEURT_SHAPES = {"BLEURT-20": (32, 1152, 18, 250_300), "BLEURT-20-D12": (12, 1024, 16, 120_300)}
# The published example of BLEURT-20: reference, candidate, score. An incorrectly loaded tokenizer or model does not
# reproduce these scores.
BLEURT_EXAMPLE = (
    ("a bird chirps by the window", "a bird chirps by the window", 0.9990),
    ("this is a random sentence", "this looks like a random sentence", 0.7930),
)
BLEURT_WINDOW = 512
TOLERANCE = 0.02
# A reference and a candidate that the tokenizer must encode exactly as SentencePiece does.
PROBE = ("Grüße, „Welt“: 3.5 %!", "我喜欢 猫。 a  b")


class Segment(NamedTuple):
    """A line to score, with its source and its reference."""

    source: str
    hypothesis: str
    reference: str


class Metric(Protocol):
    """The interface of a loaded learned metric.

    Attributes:
        signature: how the scores are made.
        cut_lines: how many inputs of the last call of `score` were cut.
    """

    signature: str
    cut_lines: int

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """Return one score per segment, in the order of the segments."""


class Kind(NamedTuple):
    """What differs between the kinds of learned metrics.

    Attributes:
        settings: the settings of `load_metric` that the kind has.
        factor: by what a score is multiplied in tables. Scores from 0 to 1 become percentages, as in the paper.
    """

    settings: tuple[str, ...]
    factor: int


KINDS = {
    "bleurt": Kind(("revision", "shape"), 100),
    "comet": Kind((), 100),
    "metricx": Kind(("revision", "tokenizer", "tokenizer_revision", "reference", "dtype"), 1),
}


def load_metric(kind: str, model: str, settings: Mapping[str, Any] | None = None) -> Metric:
    """Load a learned metric.

    Args:
        kind: `bleurt`, `comet` or `metricx`.
        model: Hugging Face id or path of the checkpoint.
        settings: further arguments of `Bleurt` or `MetricX`; those that are None do not count.

    Raises:
        InputError: a setting is not for this metric, its library is missing, or the checkpoint is missing or not the
            expected one.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    for name in given:
        if name not in KINDS[kind].settings:
            kinds = " and ".join(other for other in KINDS if name in KINDS[other].settings)
            raise InputError(f"{model}: `{name}` is a setting of {kinds}, not of `kind: {kind}`; remove it")
    if kind == "comet":
        return Comet(model)
    if kind == "bleurt":
        return Bleurt(model, **given)

    from .metricx import MetricX

    return MetricX(model, **given)


class Bleurt:
    """BLEURT by bleurt-pytorch. The checkpoint is verified when it is loaded."""

    cut_lines = 0

    def __init__(self, model: str, revision: str | None = None, shape: Sequence[int] | None = None) -> None:
        """Load and verify a checkpoint.

        Args:
            model: Hugging Face id or folder.
            revision: revision of the Hugging Face repository.
            shape: required layers, hidden size, heads and vocabulary size; by default those of the published
                checkpoint with the same name, or of BLEURT-20 if there is none.

        Raises:
            InputError: bleurt-pytorch is missing, or the checkpoint is missing, incomplete or not the expected one.
        """
        try:
            import torch
            from bleurt_pytorch import BleurtConfig, BleurtForSequenceClassification
            from bleurt_pytorch.bleurt.tokenization_bleurt_sp import BleurtSPTokenizer
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise InputError(f"BLEURT needs the environment of envs/bleurt.txt ({error}); run `make bleurt`") from None
        options = {"revision": revision} if revision else {}
        try:
            config = BleurtConfig.from_pretrained(model, **options)
        except (OSError, ValueError) as error:
            raise InputError(f"{model}: no BLEURT checkpoint ({first_line(error)})") from None
        name = Path(model).name
        expected_shape = tuple(shape or BLEURT_SHAPES.get(name, BLEURT_SHAPES["BLEURT-20"]))
        actual_shape = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size)
        if config.model_type != "bleurt" or actual_shape != expected_shape:
            raise InputError(
                f"{model}: not BLEURT-20: layers, hidden size, heads and vocabulary are {actual_shape}, not "
                f"{expected_shape}; use lucadiliello/BLEURT-20"
            )
        try:
            tokenizer = BleurtSPTokenizer.from_pretrained(model, **options)
            pieces = SentencePieceProcessor(model_file=tokenizer.vocab_file)
            network = BleurtForSequenceClassification.from_pretrained(model, **options).eval()
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"{model}: an incomplete BLEURT checkpoint ({first_line(error)})") from None
        self._torch, self._tokenizer, self._network = torch, tokenizer, network
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(self._device)
        # With other releases of transformers, the tokenizer loses word boundary marks or all pieces without an error.
        expected_ids = token_ids(pieces, *PROBE)
        if tokenizer(*PROBE)["input_ids"] != expected_ids or len(pieces) > config.vocab_size:
            raise InputError(
                f"{model}: the tokenizer does not give the ids of SentencePiece; use the versions of envs/bleurt.txt"
            )
        if not shape and name == "BLEURT-20":
            scores = self.score([Segment("", candidate, reference) for reference, candidate, _ in BLEURT_EXAMPLE], 512)
            for score, (reference, candidate, published) in zip(scores, BLEURT_EXAMPLE, strict=True):
                if abs(score - published) > TOLERANCE:
                    raise InputError(
                        f"{model}: scores {candidate!r} for {reference!r} {score:.3f} where the published model scores "
                        f"{published:.3f}; fetch it again, and use the versions of envs/bleurt.txt"
                    )
        self.signature = (
            f"model:{name}|weights:{weights_hash(network)}|bleurt-pytorch:{version_of('bleurt-pytorch')}"
            f"|transformers:{version_of('transformers')}"
        )

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """Return one score per segment, in the order of the segments.

        Scores are about 0 to 1; higher is better. Inputs longer than 512 tokens are cut, as in BLEURT itself. Their
        number is in `cut_lines` and in the log.

        Args:
            segments: the lines to score; the source is not used.
            batch_tokens: maximum of rows x tokens of one batch.
        """
        encoded = [self._tokenizer(reference, hypothesis)["input_ids"] for _, hypothesis, reference in segments]
        too_long = [index for index, sequence in enumerate(encoded) if len(sequence) > BLEURT_WINDOW]
        for index in too_long:
            _, hypothesis, reference = segments[index]
            cut = self._tokenizer(reference, hypothesis, truncation=True, max_length=BLEURT_WINDOW)
            encoded[index] = cut["input_ids"]
        self.cut_lines = len(too_long)
        if too_long:
            log.warning(
                "%d of %d inputs are longer than %d tokens; what is cut from them has no part in the scores",
                len(too_long), len(encoded), BLEURT_WINDOW,
            )  # fmt: skip
        scores = [0.0] * len(encoded)
        progress = Progress(len(encoded), "lines")
        for batch in batches_by_length([len(sequence) for sequence in encoded], batch_tokens):
            longest = max(len(encoded[index]) for index in batch)
            ids = self._torch.zeros((len(batch), longest), dtype=self._torch.long)
            mask = self._torch.zeros_like(ids)
            token_types = self._torch.zeros_like(ids)
            for row, index in enumerate(batch):
                sequence = encoded[index]
                ids[row, : len(sequence)] = self._torch.tensor(sequence)
                mask[row, : len(sequence)] = 1
                token_types[row, sequence.index(self._tokenizer.sep_token_id) + 1 : len(sequence)] = 1
            with self._torch.inference_mode():
                logits = self._network(
                    input_ids=ids.to(self._device),
                    attention_mask=mask.to(self._device),
                    token_type_ids=token_types.to(self._device),
                ).logits.flatten()
            for index, score in zip(batch, logits.tolist(), strict=True):
                scores[index] = score
            progress.update(len(batch))
        return scores


class Comet:
    """COMET or XCOMET by unbabel-comet, which makes batches of similar length itself.

    The library finds the class of a checkpoint in its `hparams.yaml`. Scores of XCOMET (Guerreiro et al. 2024) combine
    a regression with the error spans that it finds, which are not kept.
    """

    cut_lines = 0

    def __init__(self, model: str) -> None:
        """Load a checkpoint, given by its Hugging Face id or as a `.ckpt` file.

        Raises:
            InputError: unbabel-comet or the checkpoint is missing, or the checkpoint is damaged.
        """
        try:
            from comet import download_model, load_from_checkpoint
        except ImportError as error:
            raise InputError(f"COMET needs the environment of envs/comet.txt ({error}); run `make comet`") from None
        # The library would raise an error without a type of its own.
        if Path(model).is_file() and not (hparams := Path(model).absolute().parents[1] / "hparams.yaml").is_file():
            raise InputError(f"{model}: no COMET checkpoint, which has a file {hparams}; fetch it again")
        try:
            self._model = load_from_checkpoint(model if Path(model).is_file() else download_model(model))
        except (OSError, KeyError, ValueError, RuntimeError, UnpicklingError) as error:
            raise InputError(
                f"{model}: no COMET checkpoint ({first_line(error)}); if it has terms of its own, as XCOMET does,"
                " accept them on its page, and set HF_TOKEN to a token of your account"
            ) from None
        self.signature = f"model:{Path(model).name}|unbabel-comet:{version_of('unbabel-comet')}"

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """Return one score per segment, in the order of the segments; higher is better.

        The library cuts longer inputs than the encoder reads. Their number is in `cut_lines` and in the log.
        """
        import torch

        data = [{"src": segment.source, "mt": segment.hypothesis, "ref": segment.reference} for segment in segments]
        self.cut_lines = self._count_cut(data)
        if self.cut_lines:
            log.warning(
                "%d of %d inputs are longer than the encoder reads; what is cut from them has no part in the scores",
                self.cut_lines, len(data),
            )  # fmt: skip
        gpus = min(1, torch.cuda.device_count())
        # COMET limits the segments of a batch, not the tokens. A segment of three sentences has about 64 tokens.
        return list(self._model.predict(data, batch_size=max(1, batch_tokens // 64), gpus=gpus).scores)

    def _count_cut(self, data: Sequence[Mapping[str, str]]) -> int:
        """Count the segments of which the library cuts a part.

        XCOMET and unified models read the texts of a segment as one sequence, all others read each text alone; see
        `Encoder.prepare_sample` and `Encoder.concat_sequences` of the library.
        """
        encoder, settings = self._model.encoder, self._model.hparams
        joined = "input_segments" in settings
        alone = ("src", "mt", "ref") if self._model.requires_references() else ("src", "mt")
        fields = settings["input_segments"] if joined else alone
        lengths = [
            [len(ids) for ids in encoder.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]]
            for texts in ([row[field] for row in data] for field in fields)
        ]
        if joined:
            # One token at each end.
            room = encoder.max_positions - 2 - (len(fields) - 1) * encoder.size_separator
            return sum(sum(of_row) > room for of_row in zip(*lengths, strict=True))
        # A text has one token at each end, and the library leaves two more positions free.
        room = encoder.max_positions - 4
        return sum(max(of_row) > room for of_row in zip(*lengths, strict=True))


def token_ids(pieces: Any, reference: str, candidate: str) -> list[int]:
    """Encode `[CLS] reference [SEP] candidate [SEP]`, the input of BLEURT, directly with SentencePiece."""
    cls, sep = pieces.piece_to_id("[CLS]"), pieces.piece_to_id("[SEP]")
    return [cls, *pieces.encode(reference), sep, *pieces.encode(candidate), sep]


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Group the indices of sequences into batches of similar length.

    Args:
        lengths: number of tokens of every sequence.
        batch_tokens: maximum of rows x longest row of one batch; a longer sequence is a batch of one row.
    """
    batches: list[list[int]] = []
    # Longest first, so that a batch that does not fit in memory fails immediately.
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def score_cached(
    segments: Sequence[Segment], folder: Path, key: Mapping[str, Any], load: Callable[[], Metric], batch_tokens: int
) -> tuple[list[float], str]:
    """Return one score per segment and the signature of the metric, from the cache if it has the same segments.

    The signature ends with the number of inputs that were cut, if there are any.

    Args:
        segments: all lines of one file.
        folder: folder of the cache; every file in it is named after the hash of `key` and all texts.
        key: everything else that determines the scores, such as the model.
        load: function that loads the metric; called only if the scores are not in the cache.
        batch_tokens: maximum of rows x tokens of one batch.

    Raises:
        InputError: the metric gives a score that is not finite.
    """
    content = json.dumps([dict(key), [tuple(segment) for segment in segments]], ensure_ascii=False, sort_keys=True)
    path = folder / f"{hashlib.sha256(content.encode('utf-8')).hexdigest()}.json"
    cached = _read_cache(path, len(segments))
    if cached:
        return cached
    metric = load()
    scores = metric.score(segments, batch_tokens)
    if not all(map(math.isfinite, scores)):
        raise InputError(
            f"{metric.signature}: line {next(n for n, score in enumerate(scores, 1) if not math.isfinite(score))} has a"
            " score that is not finite; use another checkpoint"
        )
    signature = f"{metric.signature}|cut:{metric.cut_lines}" if metric.cut_lines else metric.signature
    with atomic_write(path) as handle:
        json.dump({"signature": signature, "scores": scores}, handle)
    return scores, signature


def _read_cache(path: Path, lines: int) -> tuple[list[float], str] | None:
    """Return the scores and the signature in a file of the cache; None if there is none, or it is damaged."""
    try:
        cached = json.loads(path.read_text(encoding="utf-8"))
        scores, signature = list(map(float, cached["scores"])), cached["signature"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        scores, signature = [], None
    if len(scores) == lines and all(map(math.isfinite, scores)) and isinstance(signature, str):
        return scores, signature
    log.warning("%s is damaged; its lines are scored again", path)
    return None


def weights_hash(network: Any) -> str:
    """Return a hash of all weight tensors, the same on every device, by which a signature identifies the checkpoint."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        # As bytes, because numpy has no bf16.
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]


def version_of(package: str) -> str:
    """Return the version of a package, or `unknown`."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

"""Learned metrics: BLEURT (Sellam et al. 2020) and COMET (Rei et al. 2020), each in an environment of its own.

Nothing here needs the main environment, and the libraries are imported where they are used.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..files import InputError, atomic_write, read_text
from ..runtime import Progress

# What tells the published checkpoints apart from other BERT-like models: layers, hidden size, heads, vocabulary.
BLEURT_SHAPES = {"BLEURT-20": (32, 1152, 18, 250_300), "BLEURT-20-D12": (12, 1024, 16, 120_300)}
# The published example of BLEURT-20 and its scores; a tokeniser or model read wrongly does not reproduce them.
BLEURT_EXAMPLE = (
    ("a bird chirps by the window", "a bird chirps by the window", 0.9990),
    ("this is a random sentence", "this looks like a random sentence", 0.7930),
)
BLEURT_WINDOW = 512
TOLERANCE = 0.02
PROBE = ("Grüße, „Welt“: 3.5 %!", "我喜欢 猫。 a  b")


class Segment(NamedTuple):
    """A line to score."""

    source: str
    hypothesis: str
    reference: str


class Metric(Protocol):
    """A learned metric, loaded."""

    signature: str

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """A score for each segment, in their order."""


def load_metric(kind: str, model: str, revision: str | None, shape: Sequence[int] | None = None) -> Metric:
    """A metric by its kind, `bleurt` or `comet`, with a hub id or a folder of a checkpoint.

    Raises:
        InputError: its library is missing, or the checkpoint is another than it should be.
    """
    if kind == "comet":
        return Comet(model)
    return Bleurt(model, revision, shape)


class Bleurt:
    """BLEURT through bleurt-pytorch, with a checkpoint that has been looked at before it is believed."""

    def __init__(self, model: str, revision: str | None = None, shape: Sequence[int] | None = None) -> None:
        """Load and check a checkpoint.

        Args:
            model: hub id or folder.
            revision: of the hub's repository.
            shape: layers, hidden size, heads and vocabulary it must have; that of the published ones by default.

        Raises:
            InputError: bleurt-pytorch is missing, or the checkpoint is not what its name says.
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
            raise InputError(f"{model}: no BLEURT checkpoint ({str(error).splitlines()[0]})") from None
        name = Path(model).name
        wanted = tuple(shape or BLEURT_SHAPES.get(name, BLEURT_SHAPES["BLEURT-20"]))
        found = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.vocab_size)
        if config.model_type != "bleurt" or found != wanted:
            raise InputError(
                f"{model}: not BLEURT-20: layers, hidden size, heads and vocabulary are {found}, not {wanted}; "
                "use lucadiliello/BLEURT-20"
            )
        try:
            tokenizer = BleurtSPTokenizer.from_pretrained(model, **options)
            pieces = SentencePieceProcessor(model_file=tokenizer.vocab_file)
            network = BleurtForSequenceClassification.from_pretrained(model, **options).eval()
        except (OSError, TypeError, ValueError) as error:
            raise InputError(f"{model}: an incomplete BLEURT checkpoint ({str(error).splitlines()[0]})") from None
        self._torch, self._tokenizer, self._network = torch, tokenizer, network
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(self._device)
        # Under another release of transformers the tokeniser loses word marks or knows no piece, without an error.
        expected = token_ids(pieces, *PROBE)
        if tokenizer(*PROBE)["input_ids"] != expected or len(pieces) > config.vocab_size:
            raise InputError(
                f"{model}: its tokeniser does not give SentencePiece's own ids; use the versions of envs/bleurt.txt"
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
            f"model:{name}|weights:{_hash_of(network)}|bleurt-pytorch:{_version('bleurt-pytorch')}"
            f"|transformers:{_version('transformers')}"
        )

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """A score for each segment: about 0 to 1, higher is better. Lines over 512 tokens are cut, as BLEURT does."""
        rows = [
            self._tokenizer(its.reference, its.hypothesis, truncation=True, max_length=BLEURT_WINDOW)["input_ids"]
            for its in segments
        ]
        scores = [0.0] * len(rows)
        progress = Progress(len(rows), "lines")
        for batch in batches_by_length([len(row) for row in rows], batch_tokens):
            longest = max(len(rows[number]) for number in batch)
            ids = self._torch.zeros((len(batch), longest), dtype=self._torch.long)
            mask = self._torch.zeros_like(ids)
            kinds = self._torch.zeros_like(ids)
            for place, number in enumerate(batch):
                row = rows[number]
                ids[place, : len(row)] = self._torch.tensor(row)
                mask[place, : len(row)] = 1
                kinds[place, row.index(self._tokenizer.sep_token_id) + 1 : len(row)] = 1
            with self._torch.inference_mode():
                logits = self._network(
                    input_ids=ids.to(self._device),
                    attention_mask=mask.to(self._device),
                    token_type_ids=kinds.to(self._device),
                ).logits.flatten()
            for number, score in zip(batch, logits.tolist(), strict=True):
                scores[number] = score
            progress.update(len(batch))
        return scores


class Comet:
    """COMET through unbabel-comet, which batches by length itself."""

    def __init__(self, model: str) -> None:
        """Load a checkpoint, a hub id or a `.ckpt` file.

        Raises:
            InputError: unbabel-comet is missing, or there is no such checkpoint.
        """
        try:
            from comet import download_model, load_from_checkpoint
        except ImportError as error:
            raise InputError(f"COMET needs the environment of envs/comet.txt ({error}); run `make comet`") from None
        try:
            self._model = load_from_checkpoint(model if Path(model).is_file() else download_model(model))
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{model}: no COMET checkpoint ({str(error).splitlines()[0]})") from None
        self.signature = f"model:{Path(model).name}|unbabel-comet:{_version('unbabel-comet')}"

    def score(self, segments: Sequence[Segment], batch_tokens: int) -> list[float]:
        """A score for each segment."""
        import torch

        data = [{"src": its.source, "mt": its.hypothesis, "ref": its.reference} for its in segments]
        gpus = min(1, torch.cuda.device_count())
        # It counts lines of a batch; about 64 tokens a line are three texts of a sentence.
        return list(self._model.predict(data, batch_size=max(1, batch_tokens // 64), gpus=gpus).scores)


def token_ids(pieces: Any, reference: str, candidate: str) -> list[int]:
    """What BLEURT reads: `[CLS] reference [SEP] candidate [SEP]`, in ids of raw SentencePiece."""
    cls, sep = pieces.piece_to_id("[CLS]"), pieces.piece_to_id("[SEP]")
    return [cls, *pieces.encode(reference), sep, *pieces.encode(candidate), sep]


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Numbers of rows in batches of similar length: rows x longest row stays under `batch_tokens`, or is one row."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        # Longest first, so that a batch that does not fit in memory fails at once.
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def score_cached(
    segments: Sequence[Segment], folder: Path, key: Mapping[str, Any], load: Callable[[], Metric], batch_tokens: int
) -> tuple[list[float], str]:
    """Scores of a file's lines and the metric's signature, from the cache if the same lines were scored before.

    Args:
        segments: all lines.
        folder: of the cache; a file there is named after the hash of `key` and all texts.
        key: what else determines the scores, such as the model.
        load: loads the metric, if it is needed.
        batch_tokens: bound on rows x tokens of one batch.
    """
    content = json.dumps([dict(key), [tuple(segment) for segment in segments]], ensure_ascii=False, sort_keys=True)
    path = folder / f"{hashlib.sha256(content.encode('utf-8')).hexdigest()}.json"
    if path.is_file():
        known = json.loads(read_text(path))
        return known["scores"], known["signature"]
    metric = load()
    scores = metric.score(segments, batch_tokens)
    with atomic_write(path) as handle:
        json.dump({"signature": metric.signature, "scores": scores}, handle)
    return scores, metric.signature


def _hash_of(network: Any) -> str:
    """Of the weights, so that a figure says which checkpoint it came from."""
    digest = hashlib.sha256()
    for name, weight in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().float().sum().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

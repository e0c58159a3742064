"""Language identification with fastText models, such as `lid.176.bin` or GlotLID, or with the library py3langid.

Every identifier returns codes of languages, whatever its own labels are, see `languages.code_of_label`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..files import InputError, fold, sha256
from ..languages import code_of_label
from .sources import read_sources

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LABEL_PREFIX = "__label__"

# The special tokens of common tokenizers, as text. A model may write them as ordinary characters, and one of them in
# front of a sentence is enough to make an identifier say English.
SPECIAL_TOKENS = re.compile(
    r"</?s>|<(?i:pad|unk|bos|eos|cls|sep|mask)(?:_TOKEN)?>"  # SentencePiece, XLM-R, Cohere
    r"|<[|｜][^<>|｜]{1,40}[|｜]>"  # <|endoftext|>, <|im_end|>, <|eot_id|>: GPT, Qwen, Llama 3, DeepSeek
    r"|\[/?INST\]|<</?SYS>>"  # Llama 2, Mistral
    r"|<(?:start|end)_of_\w+>|<(?:unused|extra_id_)\d+>|<0x[0-9A-F]{2}>"  # Gemma, T5, byte fallback
    r"|\[(?:PAD|UNK|CLS|SEP|MASK|BOS|EOS|gMASK)\]|<[se]op>"  # BERT, GLM
)

# Result for a line without text.
NO_LANGUAGE = ("", 0.0)

# The magic number at the start of every fastText model, little-endian.
FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")

# fastText models of other tasks have labels, too; a model that identifies languages has at least these.
EXPECTED_LABELS = frozenset({"en", "de", "fr"})

# Identifier that is a library and not a file; the config gives this name in place of a source.
PY3LANGID = "py3langid"

# Lines that py3langid looks at together.
BATCH = 1024


class Identifier(Protocol):
    """Interface of the identifiers of the most probable language of lines of text."""

    name: str
    signature: str

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """Return (language, probability) of the readable text of each line; `("", 0.0)` for a line without any."""


def readable_text(line: str) -> str:
    """Return the text of a line that an identifier looks at: without special tokens, on one line.

    Line breaks inside the line count as spaces.
    """
    # Most lines have none of the characters that all special tokens begin with.
    return fold(SPECIAL_TOKENS.sub(" ", line) if "<" in line or "[" in line else line)


def load_identifier(name: str) -> Identifier:
    """Load the library `py3langid` or, for any other name, the fastText model in the file of that name.

    Raises:
        InputError: the file is not a fastText model for language identification, see `LanguageIdentifier`.
    """
    return PurePythonIdentifier() if name == PY3LANGID else LanguageIdentifier(name)


class LanguageIdentifier:
    """Identifies the most probable language of lines of text with a fastText model."""

    def __init__(self, path: Path | str) -> None:
        """Load the model at `path`.

        Raises:
            InputError: the file is missing, damaged or not a fastText model, or its labels are not language codes.
        """
        path = Path(path)
        try:
            with open(path, "rb") as handle:
                magic = handle.read(len(FASTTEXT_MAGIC))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); fetch lid.176.ftz or lid.176.bin") from None
        # Checked here, since fastText raises a vague ValueError for a wrong file and may crash on a truncated one.
        if magic != FASTTEXT_MAGIC:
            raise InputError(f"{path}: no fastText model; use lid.176.ftz or lid.176.bin")
        digest = sha256(path)
        known = {source.file: source.sha256 for source in read_sources() if source.format == "model" and source.sha256}
        # A damaged model may load and answer otherwise, or crash the library.
        if digest != known.get(path.name, digest):
            raise InputError(
                f"{path}: not the file that resources/sources.tsv describes (sha256 {digest}); delete it and run again,"
                " or give a model of your own another name"
            )
        # Imported here, since most programs that import this module never identify a language.
        import fasttext

        # Older releases of the library print a warning whenever a model is loaded.
        fasttext.FastText.eprint = lambda *_: None
        try:
            self._model = fasttext.load_model(str(path))
            self._codes = {label: code_of_label(label.removeprefix(LABEL_PREFIX)) for label in self._model.get_labels()}
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: a broken fastText model ({fold(str(error))}); fetch it again") from None
        if not set(self._codes.values()) >= EXPECTED_LABELS:
            raise InputError(f"{path}: a fastText model, but not one that identifies languages; use lid.176.ftz")
        self.name = path.name
        self.signature = f"lid:{path.name}|sha256:{digest[:12]}|top:1"

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """Return (language, probability) of the readable text of each line; `("", 0.0)` for a line without any."""
        texts = [readable_text(line) for line in lines]
        filled = [text for text in texts if text]
        if not filled:
            return [NO_LANGUAGE] * len(texts)
        labels, probabilities = self._model.predict(filled)
        # A line without any word of the model has no label; rounding errors can make a probability exceed 1.
        found = iter(
            [
                (self._codes[label[0]], min(float(probability[0]), 1.0)) if label else NO_LANGUAGE
                for label, probability in zip(labels, probabilities, strict=True)
            ]
        )
        return [next(found) if text else NO_LANGUAGE for text in texts]


class PurePythonIdentifier:
    """Identifies the most probable language of lines of text with py3langid.

    Its model and training data are different from fastText's, so that it serves as a cross-check.

    The library looks at one byte of one line after another: each byte changes the state of an automaton, and some
    states are features of the text. Here, many lines advance at the same time, with the same results.
    """

    def __init__(self) -> None:
        # Imported here, since py3langid reads its model when it is imported.
        from importlib.metadata import version

        import numpy as np
        from py3langid.langid import MODEL_FILE
        from py3langid.langid import LanguageIdentifier as Library

        self._library = Library.from_model_file(MODEL_FILE, norm_probs=True)
        self._rows = np.array(self._library.tk_row, dtype=np.int64) << 8
        self._next = np.asarray(self._library.tk_nextmove)
        self._features = np.array(self._library.tk_output, dtype=np.int32)
        self._weights = self._library.nb_ptc.astype(np.float32)
        self._codes = list(map(code_of_label, self._library.nb_classes))
        self.name = PY3LANGID
        self.signature = f"lid:{PY3LANGID}|version:{version(PY3LANGID)}|top:1"

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """Return (language, probability) of the readable text of each line; `("", 0.0)` for a line without any."""
        texts = [self._library._encode(readable_text(line)) for line in lines]
        # Lines of about the same length are looked at together, and the longest ones first.
        order = sorted((number for number, text in enumerate(texts) if text), key=lambda n: len(texts[n]), reverse=True)
        found = [NO_LANGUAGE] * len(texts)
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH]
            for number, result in zip(numbers, self._identify([texts[n] for n in numbers]), strict=True):
                found[number] = result
        return found

    def _identify(self, texts: Sequence[bytes]) -> list[tuple[str, float]]:
        """Return (language, probability) of texts that are sorted by their lengths, the longest one first."""
        import numpy as np

        lengths = np.array(list(map(len, texts)))
        longest = len(texts[0])
        padded = b"".join(text.ljust(longest, b"\0") for text in texts)
        columns = np.frombuffer(padded, np.uint8).reshape(len(texts), longest).T.copy()
        # How many texts have a byte at each position.
        active = np.searchsorted(-lengths, -np.arange(longest), side="left")
        features = np.full((longest, len(texts)), -1, dtype=np.int32)
        states = np.zeros(len(texts), dtype=np.int64)
        for position, count in enumerate(active.tolist()):
            states = self._next[self._rows[states[:count]] + columns[position, :count]]
            features[position, :count] = self._features[states]
        scores = np.zeros((len(texts), len(self._codes)), dtype=np.float32)
        for number, (visited, counts) in enumerate(_count_visits(features.T)):
            if len(visited):
                # The order of the features is that of the library, since it affects the rounding of the sum.
                scores[number] = np.log1p(counts) @ self._weights[visited] + self._library.nb_pc
        scores *= (1.0 / np.sqrt(lengths)).astype(np.float32)[:, None]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
        for kept, removed in self._library._alias_pairs:
            scores[:, kept] += scores[:, removed]
            scores[:, removed] = 0.0
        best = scores.argmax(axis=1)
        probabilities = scores[np.arange(len(texts)), best].tolist()
        return [
            (self._codes[code], probability) for code, probability in zip(best.tolist(), probabilities, strict=True)
        ]


def _count_visits(features: NDArray[np.int32]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the features of each row in the order of their first occurrence, and how often they occur.

    Args:
        features: one row per text, with -1 in place of states that are no feature.
    """
    import numpy as np

    rows, columns = np.nonzero(features >= 0)
    found = features[rows, columns].astype(np.int64)
    _, firsts, counts = np.unique((rows << 32) | found, return_index=True, return_counts=True)
    order = np.argsort(firsts)
    firsts, counts = firsts[order], counts[order].astype(np.float32)
    ends = np.searchsorted(rows[firsts], np.arange(len(features)), side="right")
    start = 0
    for end in ends.tolist():
        yield found[firsts[start:end]], counts[start:end]
        start = end

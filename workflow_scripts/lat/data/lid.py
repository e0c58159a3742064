"""Language identification: fastText models such as `lid.176.bin` or GlotLID, and a library in pure Python beside them.

Every identifier calls the languages of `resources/languages.tsv` by their codes, whatever its own labels are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..files import InputError, fold, sha256
from ..languages import code_of_label

LABEL = "__label__"

# Of a line without text.
NOTHING = ("", 0.0)

# What fastText writes at the start of every model of its: a magic number, little-endian.
FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")

# Models of other tasks have labels, too; one that identifies languages knows at least these.
EXPECTED_LABELS = frozenset({"en", "de", "fr"})


# An identifier that is a library rather than a file; the config names it like a file's source.
PY3LANGID = "py3langid"


class Identifier(Protocol):
    """Whatever names the most probable language of lines of text."""

    name: str
    signature: str

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """(language, probability) for each line; `("", 0.0)` for a line without text."""


def load_identifier(name: str) -> Identifier:
    """The library `py3langid`, or the fastText model in a file.

    Raises:
        InputError: as `LanguageIdentifier`.
    """
    return PurePythonIdentifier() if name == PY3LANGID else LanguageIdentifier(name)


class LanguageIdentifier:
    """The most probable language of lines of text, by a fastText model."""

    def __init__(self, path: Path | str) -> None:
        """Load the model at `path`.

        Raises:
            InputError: the file is missing, is no fastText model, or its labels are not language codes.
        """
        path = Path(path)
        try:
            with open(path, "rb") as handle:
                magic = handle.read(len(FASTTEXT_MAGIC))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); fetch lid.176.ftz or lid.176.bin") from None
        # fastText itself answers a wrong file with a bare ValueError, a truncated one sometimes with a crash.
        if magic != FASTTEXT_MAGIC:
            raise InputError(f"{path}: no fastText model; use lid.176.ftz or lid.176.bin")
        # Imported here, since most users of this package never identify a language.
        import fasttext

        # Older releases of the library print a warning on every load.
        fasttext.FastText.eprint = lambda *_: None
        try:
            self._model = fasttext.load_model(str(path))
            self._codes = {label: _code(label.removeprefix(LABEL)) for label in self._model.get_labels()}
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: a broken fastText model ({fold(str(error))}); fetch it again") from None
        if not set(self._codes.values()) >= EXPECTED_LABELS:
            raise InputError(f"{path}: a fastText model, but not one that identifies languages; use lid.176.ftz")
        self.name = path.name
        self.signature = f"lid:{path.name}|sha256:{sha256(path)[:12]}|top:1"

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """(language, probability) for each line; `("", 0.0)` for a line without text.

        Line breaks inside a line count as spaces.
        """
        folded = [fold(line) for line in lines]
        filled = [line for line in folded if line]
        if not filled:
            return [NOTHING] * len(folded)
        labels, scores = self._model.predict(filled)
        # A line of which the model knows no part has no label; probabilities exceed one by rounding errors.
        found = iter(
            [
                (self._codes[label[0]], min(float(score[0]), 1.0)) if label else NOTHING
                for label, score in zip(labels, scores, strict=True)
            ]
        )
        return [next(found) if line else NOTHING for line in folded]


class PurePythonIdentifier:
    """The most probable language of lines of text, by py3langid: another model and other data, as a cross-check."""

    def __init__(self) -> None:
        # Imported here: it reads its model when it is imported.
        from importlib.metadata import version

        from py3langid.langid import MODEL_FILE
        from py3langid.langid import LanguageIdentifier as Library

        self._library = Library.from_model_file(MODEL_FILE, norm_probs=True)
        self.name = PY3LANGID
        self.signature = f"lid:{PY3LANGID}|version:{version(PY3LANGID)}|top:1"

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """(language, probability) for each line; `("", 0.0)` for a line without text."""
        found = []
        for line in map(fold, lines):
            label, score = self._library.classify(line) if line else NOTHING
            found.append((_code(label), float(score)))
        return found


def _code(label: str) -> str:
    return code_of_label().get(label, label)

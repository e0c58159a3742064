"""Language identification with a fastText model such as `lid.176.bin` or `lid.176.ftz`."""

from collections.abc import Sequence
from pathlib import Path

from .files import InputError, fold

LABEL = "__label__"

# What fastText writes at the start of every model of its: a magic number, little-endian.
FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")

# Models of other tasks have labels, too; one that identifies languages knows at least these.
EXPECTED_LABELS = frozenset({"en", "de", "fr"})


class LanguageIdentifier:
    """The most probable language of lines of text."""

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
            labels = {label.removeprefix(LABEL) for label in self._model.get_labels()}
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InputError(f"{path}: a broken fastText model ({fold(str(error))}); fetch it again") from None
        if not labels >= EXPECTED_LABELS:
            raise InputError(f"{path}: a fastText model, but not one that identifies languages; use lid.176.ftz")
        self.labels = frozenset(labels)

    def identify(self, lines: Sequence[str]) -> list[tuple[str, float]]:
        """(language code, probability) for each line; `("", 0.0)` for a line without text.

        Line breaks inside a line count as spaces.
        """
        folded = [fold(line) for line in lines]
        filled = [line for line in folded if line]
        if not filled:
            return [("", 0.0)] * len(folded)
        labels, scores = self._model.predict(filled)
        # A line of which the model knows no part has no label; probabilities exceed one by rounding errors.
        found = iter(
            [
                (label[0].removeprefix(LABEL), min(float(score[0]), 1.0)) if label else ("", 0.0)
                for label, score in zip(labels, scores, strict=True)
            ]
        )
        return [next(found) if line else ("", 0.0) for line in folded]

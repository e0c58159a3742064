"""Read parallel corpora, in the formats of their publishers, as pairs of texts of one direction.

- `iwslt`: WIT3's archives of the IWSLT17 multilingual TED task: tagged text for training, XML for development and test
  sets. The files are in the archive itself or in one archive per language pair inside it.
- `flores`: FLORES-200, one file per language and part; lines with the same number correspond to each other.
- `sacrebleu`: WMT test sets as SacreBLEU downloads and reads them, with the reference that SacreBLEU selects.
- `local`: the user's own text files, see `read_local`.

Archive members are read as streams and never unpacked, so that a member's path cannot decide where a file is written.
"""

import copy
import http.client
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ..files import InputError, fold, read_lines
from ..languages import languages, split_direction

SACREBLEU = "sacrebleu"
LOCAL = "local"

# No file of these corpora is larger; a larger one means a decompression bomb or a wrong archive.
MAX_MEMBER_BYTES = 2 << 30
# Some XML files of WIT3 have ampersands that are not escaped.
BARE_AMPERSAND = re.compile(r"&(?!#?\w+;)")
ARCHIVES = (".tgz", ".tar.gz", ".zip")


class Pair(NamedTuple):
    """A text and its translation, each on one line."""

    source: str
    target: str


def read_iwslt(archive: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of `train`, or of a development or test set such as `tst2017`.

    In training files, the lines that start with a tag are left out. In the test sets of the multilingual task, the
    file of a direction has only the source texts; the references are the source texts of the opposite direction. The
    segments of development and test sets are paired by document and segment number.

    Raises:
        InputError: the archive lacks a file of the direction, or the source and target files do not match.
    """
    source, target = split_direction(direction)
    if part == "train":
        names = [rf"train\.tags\.{direction}\.{language}" for language in (source, target)]
        texts = [_find(archive, name) for name in names]
        if None in texts:
            raise InputError(f"{archive}: no training text of {direction}; is it the archive of the training data?")
        sides = [_untagged_lines(text) for text in texts if text]
        if len(sides[0]) != len(sides[1]):
            raise InputError(
                f"{archive}: {direction}: {len(sides[0])} lines of {source}, {len(sides[1])} of {target};"
                " download the archive again"
            )
        return [Pair(*lines) for lines in zip(*sides, strict=True)]

    stem = rf"IWSLT17\.TED\.{re.escape(part)}(\.mltlng)?\."
    original = _find(archive, rf"{stem}{direction}\.{source}\.xml")
    reference = _find(archive, rf"{stem}{direction}\.{target}\.xml")
    if reference is None:
        reference = _find(archive, rf"{stem}{target}-{source}\.{target}\.xml")
    if original is None or reference is None:
        raise InputError(f"{archive}: no {part} of {direction}; the archive's name tells which parts it has")
    segments = [_segments(text, f"{archive}: {part} of {direction}") for text in (original, reference)]
    if list(segments[0]) != list(segments[1]):
        raise InputError(f"{archive}: {part} of {direction}: source and reference have different segments")
    return [Pair(segments[0][key], segments[1][key]) for key in segments[0]]


def _untagged_lines(text: str) -> list[str]:
    return [fold(line) for line in text.split("\n") if line.strip() and not line.lstrip().startswith("<")]


def _segments(text: str, where: str) -> dict[tuple[str, str], str]:
    """Return the text of every segment by (document id, segment id)."""
    import lxml.etree

    try:
        root = lxml.etree.fromstring(BARE_AMPERSAND.sub("&amp;", text).encode())
    except lxml.etree.XMLSyntaxError as error:
        raise InputError(f"{where}: not XML ({error}); download the archive again") from None
    found = {}
    for document in root.iter("doc"):
        for segment in document.iter("seg"):
            key = (document.get("docid", ""), segment.get("id", ""))
            if key in found:
                raise InputError(f"{where}: segment {key[1]} of document {key[0]} is there twice")
            found[key] = fold("".join(segment.itertext()))
    return found


def read_flores(archive: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of `dev` or `devtest`.

    The name of a file has the language's FLORES-200 label, such as `nld_Latn`, which must be among the labels in
    `resources/languages.tsv`.

    Raises:
        InputError: the archive lacks a language or part.
    """
    sides = []
    for language in split_direction(direction):
        labels = "|".join(map(re.escape, languages()[language].labels.split()))
        text = _find(archive, rf"({labels})\.{re.escape(part)}")
        if text is None:
            raise InputError(f"{archive}: no {part} in {language}; add its FLORES-200 label to resources/languages.tsv")
        sides.append([fold(line) for line in text.removesuffix("\n").split("\n")])
    return _paired(sides, f"{archive}: {part} of {direction}")


def read_sacrebleu(part: str, direction: str, cache: Path) -> list[Pair]:
    """Read the pairs of a test set of SacreBLEU, such as `wmt22`, with the reference that SacreBLEU scores against.

    SacreBLEU downloads and verifies what is not in the folder `cache`. If a download was killed, SacreBLEU takes the
    incomplete file in the cache for a complete one.

    Raises:
        InputError: SacreBLEU has no such test set or direction, or cannot download it.
    """
    from sacrebleu.dataset import DATASETS

    if part not in DATASETS:
        raise InputError(f"{part}: no test set of SacreBLEU; `sacrebleu --list` names them")
    dataset = copy.copy(DATASETS[part])
    if direction not in dataset.langpairs:
        raise InputError(f"{part}: has no {direction}; it has {' '.join(sorted(dataset.langpairs))}")
    # SacreBLEU sets its cache folder when it is imported; the copy of the data set uses `cache` instead.
    dataset._outdir = str(cache / part)
    dataset._rawdir = str(cache / part / "raw")
    try:
        sources = [fold(line) for line in dataset.source(direction)]
        references = [fold(line[0]) for line in dataset.references(direction)]
    # SacreBLEU exits the program if a checksum is wrong.
    except (OSError, http.client.HTTPException, SystemExit) as error:
        reason = "the checksum is wrong" if isinstance(error, SystemExit) else error
        raise InputError(f"{part}: SacreBLEU could not download it ({reason}); check the network, then rerun") from None
    return _paired([sources, references], f"{part} of {direction}")


def read_local(prefix: str, direction: str) -> list[Pair]:
    """Read the pairs of the user's own files, which have one text per line.

    Args:
        prefix: `folder/name`. For the direction `it-nl`, the first of these pairs of files that exists is read:
            `name.it-nl.it` and `name.it-nl.nl`; `name.nl-it.it` and `name.nl-it.nl`; `name.it` and `name.nl`.
        direction: such as `it-nl`.

    Raises:
        InputError: there are no such files, or they have different numbers of lines.
    """
    source, target = split_direction(direction)
    for middle in (f".{direction}", f".{target}-{source}", ""):
        files = [Path(f"{prefix}{middle}.{language}") for language in (source, target)]
        if all(file.is_file() for file in files):
            return _paired([[fold(line) for line in read_lines(file)] for file in files], " and ".join(map(str, files)))
    raise InputError(
        f"{prefix}: no text of {direction}; put it into {prefix}.{direction}.{source} and {prefix}.{direction}.{target}"
    )


def local_files(prefix: str) -> list[Path]:
    """List the files that `read_local` may read for a prefix."""
    return sorted(Path(prefix).parent.glob(f"{Path(prefix).name}.*"))


# Functions that read archives, by `format` in the source table.
READERS: dict[str, Callable[[Path, str, str], list[Pair]]] = {"iwslt": read_iwslt, "flores": read_flores}


def _paired(sides: Sequence[Sequence[str]], where: str) -> list[Pair]:
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"{where}: {len(sides[0])} lines of source, {len(sides[1])} of target; they must be parallel")
    return [Pair(*lines) for lines in zip(*sides, strict=True)]


def _find(archive: Path, name: str) -> str | None:
    """Return the text of the first member whose file name matches the regular expression `name`; None without one.

    Archives inside the archive are searched, too.

    Raises:
        InputError: the archive is broken, or the member is too large or not UTF-8.
    """
    pattern = re.compile(name)
    try:
        with open(archive, "rb") as handle:
            for path, content in _members(handle, archive.name, pattern):
                try:
                    return content.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(f"{archive}: {path}: not UTF-8 at byte {error.start}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(f"{archive}: cannot be read ({error}); delete it, then rerun to download it again") from None
    return None


def _members(handle: IO[bytes], name: str, pattern: re.Pattern[str], depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of the members whose file name matches, also from archives inside, one level deep."""
    for path, size, read in _listing(handle, name):
        file = PurePosixPath(path).name
        # Archives made on macOS have, for every file, a second one with the prefix `._` for its resource fork.
        if file.startswith("._"):
            continue
        inner = depth == 0 and file.endswith(ARCHIVES)
        if not inner and not pattern.fullmatch(file):
            continue
        if size > MAX_MEMBER_BYTES:
            raise InputError(f"{name}: member {path} of {size} bytes is larger than any file of this corpus")
        if inner:
            yield from _members(io.BytesIO(read()), file, pattern, depth + 1)
        else:
            yield path, read()


def _listing(handle: IO[bytes], name: str) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Yield the path, the size in bytes and a function that reads the content of every regular file in an archive."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(handle) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: archive.read(info)  # type: ignore[misc]
    else:
        with tarfile.open(fileobj=handle, mode="r:*") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content:
                    yield member.name, member.size, content.read

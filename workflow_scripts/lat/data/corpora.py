"""Read parallel corpora, in the formats of their publishers, as pairs of texts of one direction.

- `iwslt`: WIT3's archives of the IWSLT17 multilingual TED task: tagged text for training, XML for development and test
  sets. The files are in the archive itself or in one archive per language pair inside it.
- `flores`: FLORES-200, one file per language and part; lines with the same number correspond to each other.
- `sacrebleu`: WMT test sets as SacreBLEU downloads and reads them, with the reference that SacreBLEU selects.
- `local`: the user's own text files, see `read_local`.

Source and target are paired by line or segment number before anything is left out, so that a line without text on one
side never shifts the pairs after it.
"""

import copy
import re
import socket
import tarfile
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..disk import disk_problem
from ..files import BYTE_ORDER_MARK, InputError, TextError, decode_text, first_line, fold, read_lines, split_lines
from ..languages import language as language_of
from ..languages import split_direction
from .archives import read_members
from .filters import has_extreme_ratio

SACREBLEU = "sacrebleu"
LOCAL = "local"

# Far more than the files of one part and direction have, with the archives inside the archive that have to be searched.
MAX_CORPUS_BYTES = 1 << 30
# Some XML files of WIT3 have ampersands that are not escaped.
BARE_AMPERSAND = re.compile(r"&(?!#?\w+;)")
# Lines of WIT3's training files that describe a talk, on both sides at the same places: <doc ...>, <url>...</url>.
METADATA = re.compile(r"</?(doc|url|keywords|speaker|talkid|title|description|reviewer|translator)\b[^>]*>(?:.*</\1>)?")
# Two files are out of step from the line on where this share of this many pairs are unlike in length. With one line
# removed from real data, the place that is found is within 20 lines of it in nine of ten cases.
OUT_OF_STEP_SHARE, OUT_OF_STEP_PAIRS = 0.3, 10
SACREBLEU_TIMEOUT = 60.0  # seconds without any data after which a download of SacreBLEU counts as failed
# What to do about a text that cannot be read in an archive of a publisher.
REMEDY = "delete the archive and rerun to download it again, or correct the text and use it as a `local` corpus"


class Pair(NamedTuple):
    """A text and its translation, each on one line."""

    source: str
    target: str


class Member(NamedTuple):
    """A text file in an archive; `where` names both in messages."""

    where: str
    text: str


def read_iwslt(archive: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of `train`, or of a development or test set such as `tst2017`.

    In training files, the lines that describe the talk, and lines without text on at least one side, are left out. In
    the test sets of the multilingual task, the file of a direction has only the source texts; the references are the
    source texts of the opposite direction. The segments of development and test sets are paired by document and segment
    number.

    Raises:
        InputError: the archive lacks a file of the direction, a file cannot be read, or the source and target files do
            not match.
    """
    source, target = split_direction(direction)
    if part == "train":
        original, translation = (
            find_member(archive, rf"train\.tags\.{direction}\.{code}") for code in (source, target)
        )
        if original is None or translation is None:
            raise InputError(f"{archive}: no training text of {direction}; is it the archive of the training data?")
        return _training_pairs([lines_of(original), lines_of(translation)], f"{archive}: {part} of {direction}")

    stem = rf"IWSLT17\.TED\.{re.escape(part)}(\.mltlng)?\."
    original = find_member(archive, rf"{stem}{direction}\.{source}\.xml")
    reference = find_member(archive, rf"{stem}{direction}\.{target}\.xml")
    if reference is None:
        reference = find_member(archive, rf"{stem}{target}-{source}\.{target}\.xml")
    if original is None or reference is None:
        raise InputError(f"{archive}: no {part} of {direction}; the archive's name tells which parts it has")
    sources, references = _segments(original), _segments(reference)
    for key, other in zip_longest(sources, references):
        if key != other:
            document, segment = key or other
            raise InputError(
                f"{archive}: {part} of {direction}: source and reference have different segments,"
                f" {len(sources)} and {len(references)}; the first difference is segment {segment} of document"
                f" {document}; {REMEDY}"
            )
    return [Pair(text, references[key]) for key, text in sources.items()]


def _training_pairs(sides: Sequence[Sequence[str]], where: str) -> list[Pair]:
    """Pair the lines of a training file, then leave out metadata and pairs with an empty side.

    A line is metadata only if both sides are, because text may start with `<`, too.
    """
    pairs = []
    for number, pair in enumerate(paired(sides, where), 1):
        tags = [METADATA.fullmatch(text) for text in pair]
        if not all(pair) or all(tags):
            continue
        if any(tags):
            raise InputError(
                f"{where}: line {number} describes the talk on one side only ({pair.source[:40]!r} and"
                f" {pair.target[:40]!r}); {REMEDY}"
            )
        pairs.append(pair)
    return pairs


def _segments(member: Member) -> dict[tuple[str, str], str]:
    """Return the text of every segment by (document id, segment id)."""
    import lxml.etree

    try:
        # The text is encoded in UTF-8 here, whatever its XML declaration says.
        parser = lxml.etree.XMLParser(encoding="utf-8")
        root = lxml.etree.fromstring(BARE_AMPERSAND.sub("&amp;", member.text).encode(), parser)
    except lxml.etree.XMLSyntaxError as error:
        raise InputError(f"{member.where}: not XML ({error.msg}); {REMEDY}") from None
    found = {}
    for document in root.iter("doc"):
        for segment in document.iter("seg"):
            key = (document.get("docid", ""), segment.get("id", ""))
            if key in found:
                raise InputError(f"{member.where}: segment {key[1]} of document {key[0]} is there twice; {REMEDY}")
            (found[key],) = _folded(["".join(segment.itertext())])
    return found


def read_flores(archive: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of `dev` or `devtest`.

    The name of a file has the language's FLORES-200 label, such as `nld_Latn`, which must be among the labels of the
    language, see `languages.Language`. If the archive has several of them, the first of the labels counts: `zh` is
    `zho_Hans`, whatever the order of the archive.

    Raises:
        InputError: the archive lacks a language or part, a file cannot be read, or the files differ in their number of
            lines.
    """
    sides = []
    for language in split_direction(direction):
        labels = language_of(language).labels.split()
        member = find_member(archive, [re.escape(f"{label}.{part}") for label in labels])
        if member is None:
            raise InputError(
                f"{archive}: no {part} in {language}; its labels are {' '.join(labels)}; take another language"
            )
        sides.append(lines_of(member))
    return paired(sides, f"{archive}: {part} of {direction}")


def read_sacrebleu(part: str, direction: str, cache: Path) -> list[Pair]:
    """Read the pairs of a test set of SacreBLEU, such as `wmt22`, with the reference that SacreBLEU scores against.

    SacreBLEU downloads and verifies what is not in the folder `cache`. If a download was killed, SacreBLEU takes the
    incomplete file in the cache for a complete one.

    Raises:
        InputError: SacreBLEU has no such test set or direction, cannot download it, or finds no text in it.
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
    timeout = socket.getdefaulttimeout()
    # Without a timeout, SacreBLEU would wait forever for a server that does not answer.
    socket.setdefaulttimeout(SACREBLEU_TIMEOUT)
    _confine_archives()
    try:
        sources = _folded(dataset.source(direction))
        references = _folded(line[0] for line in dataset.references(direction))
    # What SacreBLEU raises depends on how a file is broken. It exits the program if a checksum is wrong.
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and (problem := disk_problem(error)):
            raise InputError(f"{part}: {problem}") from None
        reason = "the checksum is wrong" if isinstance(error, SystemExit) else first_line(error)
        raise InputError(f"{part}: SacreBLEU could not download it ({reason}); check the network, then rerun") from None
    finally:
        socket.setdefaulttimeout(timeout)
    if not any(sources):
        raise InputError(f"{part} of {direction}: SacreBLEU read no text from its download; rerun to download it again")
    return paired([sources, references], f"{part} of {direction}")


def _confine_archives() -> None:
    """Let SacreBLEU, which unpacks archives whose checksum it does not know, write nothing outside its cache."""
    if hasattr(tarfile, "data_filter"):
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
        return
    # Python has these filters from 3.11.4 on, and the packages of some distributions are older.
    from sacrebleu import utils

    def extract(archive: str, folder: str, unpack: Callable[[str, str], None] = utils.extract_tarball) -> None:
        if tarfile.is_tarfile(archive):
            with tarfile.open(archive) as members:
                for member in members:
                    path = PurePosixPath(member.name)
                    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                        raise tarfile.TarError(f"{member.name!r} could be written outside the destination")
        unpack(archive, folder)

    if utils.extract_tarball.__module__ == utils.__name__:
        utils.extract_tarball = extract


def read_local(prefix: str, direction: str) -> list[Pair]:
    """Read the pairs of the user's own files, which have one text per line.

    Args:
        prefix: `folder/name`. For the direction `it-nl`, the first of these pairs of files that exists is read:
            `name.it-nl.it` and `name.it-nl.nl`; `name.nl-it.it` and `name.nl-it.nl`; `name.it` and `name.nl`.
        direction: such as `it-nl`.

    Raises:
        InputError: there are no such files, one of them cannot be read, or they have different numbers of lines.
    """
    files = find_local(prefix, direction)
    if not files:
        raise InputError(f"{prefix}: {no_local_text(prefix, direction)}")
    return paired([_folded(read_lines(file)) for file in files], " and ".join(map(str, files)))


def find_local(prefix: str, direction: str) -> list[Path]:
    """Return the source and the target file that `read_local` reads; none if there are no such files."""
    source, target = split_direction(direction)
    for middle in (f".{direction}", f".{target}-{source}", ""):
        files = [Path(f"{prefix}{middle}.{language}") for language in (source, target)]
        if all(file.is_file() for file in files):
            return files
    return []


def no_local_text(prefix: str, direction: str) -> str:
    """Say that there is no text of a direction, and in which files it belongs."""
    source, target = split_direction(direction)
    return f"no text of {direction}; put it into {prefix}.{direction}.{source} and {prefix}.{direction}.{target}"


def local_files(prefix: str) -> list[Path]:
    """List the files that `read_local` may read for a prefix."""
    return sorted(Path(prefix).parent.glob(f"{Path(prefix).name}.*"))


# Functions that read archives, by `format` in the source table.
READERS: dict[str, Callable[[Path, str, str], list[Pair]]] = {"iwslt": read_iwslt, "flores": read_flores}


def _folded(lines: Iterable[str]) -> list[str]:
    # Files that were joined may have a byte order mark at the start of any line.
    return [fold(line.lstrip(BYTE_ORDER_MARK)) for line in lines]


def lines_of(member: Member) -> list[str]:
    """Return the lines of a text file, each with single spaces.

    Raises:
        InputError: its lines do not end with line feeds.
    """
    try:
        return _folded(split_lines(member.text))
    except TextError as error:
        raise InputError(f"{member.where}: {error}; {REMEDY}") from None


def paired(sides: Sequence[Sequence[str]], where: str) -> list[Pair]:
    """Pair the lines of two texts.

    Raises:
        InputError: they have different numbers of lines.
    """
    sources, targets = sides
    if len(sources) == len(targets):
        return [Pair(*lines) for lines in zip(sources, targets, strict=True)]
    place = _out_of_step(sources, targets)
    hint = f"; judging by their lengths, they part near line {place}" if place else ""
    raise InputError(f"{where}: {len(sources)} lines of source, {len(targets)} of target; they must be parallel{hint}")


def _out_of_step(sources: Sequence[str], targets: Sequence[str]) -> int | None:
    """Return the number of the first line from which on many pairs are unlike in length, if there is one."""
    unlike = [
        bool(source) != bool(target) or has_extreme_ratio(source, target, "")
        for source, target in zip(sources, targets, strict=False)
    ]
    for number in range(len(unlike)):
        window = unlike[number : number + OUT_OF_STEP_PAIRS]
        if window[0] and sum(window) >= OUT_OF_STEP_SHARE * len(window):
            return number + 1
    return None


def find_member(archive: Path, names: str | Sequence[str], password: bytes = b"") -> Member | None:
    """Return the member whose file name matches the first possible one of several regular expressions.

    Archives inside the archive are searched, too. Of several members that match the same one, the first is returned;
    None if no member matches.

    Args:
        archive: the archive.
        names: a regular expression, or several, the best one first.
        password: that of encrypted members of a zip archive.

    Raises:
        InputError: the archive is broken, or the member is too large, not UTF-8, or has a NUL character.
    """
    patterns = [re.compile(name) for name in ([names] if isinstance(names, str) else names)]

    def place(path: str) -> int:
        name = PurePosixPath(path).name
        return next((number for number, pattern in enumerate(patterns) if pattern.fullmatch(name)), len(patterns))

    members = read_members(
        archive, lambda path: place(path) < len(patterns), MAX_CORPUS_BYTES, nested=True, password=password
    )
    if not members:
        return None
    path, content = min(members, key=lambda member: place(member[0]))
    try:
        return Member(f"{archive}: {path}", decode_text(content))
    except TextError as error:
        raise InputError(f"{archive}: {path}: {error}; {REMEDY}") from None

"""Corpora that the library mtdata knows, by their ids, such as `Statmt-europarl-10-deu-eng`.

An id has group, name, version and two languages. The library knows where the files of a corpus are and what is in them;
the files are downloaded like all others, and unpacked here, so that a damaged archive is an error. All that is asked of
the library itself is in `mtdata_library`.

In `results/download/sources/mtdata` are:

<id>/entry.json
    what the library says of the corpus, and address, size and sha256 of its files
<id>/<file>
    links to the files
files/<hash of an address>/<file>
    the files, which several corpora may share, with the sha256 of the first download beside them
index/
    the library's index, which is made once, and what it says of the ids that it was asked for
"""

import fnmatch
import hashlib
import json
import os
import posixpath
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from ..disk import FULL
from ..files import InputError, atomic_write, parse_json, printable, read_text, replaced_folder, sha256
from ..languages import CODE_PARTS, RESOURCES, split_direction, usual_script
from ..languages import language as language_of
from ..runtime import log
from . import mtdata_library
from .archives import UNPACK, ZIP, list_members, unpack, write_members
from .locking import locked
from .sources import Source, adopt, fetch

MTDATA = "mtdata"
FOLDER = Path("results", "download", "sources", MTDATA)
ENTRY = "entry.json"
INDEX_FOLDER = "index"
FILES_FOLDER = "files"
REFERENCES = "references.bib"
# A language of an id: ISO 639-3 code, with a script or a territory where they matter, such as `por_BR`.
TAG = r"[a-z]{3}(?:_[A-Z][a-z]{3})?(?:_(?:[A-Z]{2}|[0-9]{3}))?"
TAG_PARTS = re.compile(r"([a-z]{3})(?:_([A-Z][a-z]{3}))?(?:_([A-Z]{2}|[0-9]{3}))?")
WORD = r"\w[\w.]*"
ID = re.compile(f"{WORD}-{WORD}-{WORD}-({TAG})-({TAG})")
MONOLINGUAL = re.compile(f"{WORD}-{WORD}-{WORD}-{TAG}")
ID_WITH_CODES = re.compile(r"[^\s/-]+-[^\s/-]+-[^\s/-]+-[A-Za-z0-9_]+-[A-Za-z0-9_]+")
# Names of published test sets, such as `newstest_deen`, `flores200_devtest` and `wat_test`.
TEST_SET = re.compile(r"(?:.*_)?(?:new|news|general|flores|dev)?test(?:b|[0-9]+)?(?:_.*)?")
# Formats that the library reads only with packages that the workflow does not have.
UNREAD = {"hfds": "a data set of the Hugging Face Hub that needs the package datasets", "xlsx": "an Excel file"}
PATTERN_LETTERS = re.compile(r"[*?\[]")


class Entry(NamedTuple):
    """What the library's index says of a corpus.

    Attributes:
        urls: addresses of the files.
        names: names of the files.
        archive: whether the text is in an archive.
        members: patterns of the paths of its members, each of which has to match one.
        format: how the library reads the text, such as `tsv` or `tmx`.
        citations: what to cite, as entries of BibTeX.
        parsing: what the library needs to read the text.
    """

    urls: list[str]
    names: list[str]
    archive: bool
    members: list[str]
    format: str
    citations: list[str]
    parsing: dict[str, Any]


class LibraryError(InputError):
    """What the library says of files that it cannot read."""


class Found(NamedTuple):
    """What the library says of ids: the entries of those that it knows, and the nearest ids for each other one."""

    entries: dict[str, Entry]
    nearest: dict[str, list[str]]


class Use(NamedTuple):
    """An id that a direction uses; `reversed` says whether the second language of the id is the source."""

    id: str
    reversed: bool


def mtdata_version() -> str:
    """Return the version of the library; empty if it is not installed."""
    try:
        return version(MTDATA)
    except PackageNotFoundError:
        return ""


def check_id(name: str) -> None:
    """Check that a text has the form of the id of a parallel corpus.

    Raises:
        InputError: it has not.
    """
    if MONOLINGUAL.fullmatch(name):
        raise InputError(f"`{name}` has text in one language only; training and tests need translations, so drop it")
    # Ids with other codes, such as `de-en`, are corrected once the index is asked.
    if not (ID.fullmatch(name) or ID_WITH_CODES.fullmatch(name)):
        raise InputError(
            f"`{printable(name)}` is no id of mtdata; ids are like Statmt-europarl-10-deu-eng and are listed by"
            " `mtdata list --langs deu-eng --id`"
        )


def is_test_set(name: str) -> bool:
    """Whether the name in an id is that of a published test set."""
    return bool(TEST_SET.fullmatch(name.split("-")[1]))


def stands_for(tag: str, code: str) -> bool:
    """Whether text in a language of an id can be used for a language of a benchmark.

    The scripts must be the same, where that of an id without one is the usual script. A territory must be the same if
    both have one: `por` and `por_BR` stand for `pt`, and `por`, but not `por_PT`, for `pt-BR`.
    """
    parts = TAG_PARTS.fullmatch(tag)
    if not parts:
        return False
    name, script, territory = parts[1], parts[2] or "", parts[3] or ""
    language = language_of(code)
    labels = language.labels.split()
    # A code of three letters may mean another language in ISO 639-3, see `als` in `languages`.
    if f"{name}_{language.script}" not in labels and (name == code or name not in labels):
        return False
    own = CODE_PARTS.fullmatch(code)
    own_territory = own[3] if own else None
    if territory and own_territory and territory != own_territory:
        return False
    return (script or usual_script(name, territory) or language.script) == language.script


def uses_of(ids: Sequence[str], direction: str, training: bool) -> list[Use]:
    """Return the ids whose text a direction uses, in the order of the list.

    Training uses a corpus in both directions. A test set was often translated in one direction only: where some ids
    are written in the order of the direction, tests and demonstrations use these alone.
    """
    source, target = split_direction(direction)
    uses = []
    for name in ids:
        if not (parts := ID.fullmatch(name)):
            continue
        first, second = parts.groups()
        if stands_for(first, source) and stands_for(second, target):
            uses.append(Use(name, reversed=False))
        elif stands_for(second, source) and stands_for(first, target):
            uses.append(Use(name, reversed=True))
    written = [use for use in uses if not use.reversed]
    return uses if training or not written else written


def look_up(ids: Sequence[str], folder: Path = FOLDER) -> Found:
    """Ask the library's index for ids.

    What it says of an id is kept beside the index, which takes seconds to load.

    Args:
        ids: the ids.
        folder: the folder `results/download/sources/mtdata`.

    Raises:
        InputError: the library is not installed or fails.
    """
    kept = {name: folder / INDEX_FOLDER / f"{name}.{mtdata_version()}.json" for name in ids}
    entries = {name: Entry(**parse_json(read_text(file))) for name, file in kept.items() if file.is_file()}
    unknown = [name for name in ids if name not in entries]
    if not unknown:
        return Found(entries, {})
    try:
        answer = _run(make_index(folder), "find", *unknown)
    except LibraryError as error:
        raise InputError(f"{error}; delete {folder / INDEX_FOLDER} and rerun, which makes the index again") from None
    for name, entry in answer["found"].items():
        with atomic_write(kept[name]) as handle:
            json.dump(entry, handle)
        entries[name] = Entry(**entry)
    return Found(entries, answer["nearest"])


def unknown_id(name: str, nearest: Sequence[str]) -> str:
    """Say that the library does not know an id, and which ids may be meant."""
    meant = " or ".join(", ".join(f"`{other}`" for other in names) for names in (nearest[:-1], nearest[-1:]) if names)
    languages = "-".join(name.split("-")[3:])
    remedy = f"did you mean {meant}?" if meant else f"`mtdata list --langs {languages} --id` lists its ids"
    return f"mtdata {mtdata_version()} has no `{name}`; {remedy}"


def unread_format(name: str, entry: Entry) -> str:
    """Say why the workflow cannot read a corpus; empty if it can."""
    if entry.format not in UNREAD:
        return ""
    return f"`{name}` is {UNREAD[entry.format]}; take another id, or convert it and use it as a `local` corpus"


def fetch_corpus(name: str, folder: Path, store: Path | None = None) -> None:
    """Download the files of a corpus into a folder, see the module docstring.

    A file that a user has put in the place of a download is used as it is.

    Args:
        name: id of the corpus.
        folder: the folder `<id>`.
        store: folder of downloads that several working folders share, see `store.py`.

    Raises:
        InputError: the library does not know the id, or a file cannot be downloaded or is not that of the first
            download.
    """
    found = look_up([name], folder.parent)
    if name not in found.entries:
        raise InputError(unknown_id(name, found.nearest[name]))
    entry = found.entries[name]
    if reason := unread_format(name, entry):
        raise InputError(reason)
    files, places = [], {}
    for number, (url, published) in enumerate(zip(entry.urls, entry.names, strict=True)):
        digest = hashlib.sha256(url.encode()).hexdigest()[:16]
        place = folder.parent / FILES_FOLDER / digest / _plain_name(published)
        adopt(place)
        source = Source(MTDATA, "", "url", url, place.name, "", "", "", "", "", MTDATA, "")
        try:
            fetch(source, place, store=store)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        # Several files of a corpus may have the same name.
        link = place.name if entry.names.count(published) == 1 else f"{number}-{place.name}"
        files.append({"url": url, "file": link, "bytes": place.stat().st_size, "sha256": sha256(place)})
        places[link] = place
    with replaced_folder(folder) as partial:
        for link, place in places.items():
            (partial / link).symlink_to(Path("..") / place.relative_to(folder.parent))
        with atomic_write(partial / ENTRY) as handle:
            facts = {"id": name, "mtdata": mtdata_version(), "files": files, **entry._asdict()}
            print(json.dumps(facts, indent=1, ensure_ascii=False), file=handle)
    log.info("%s: %s", name, ", ".join(entry.urls))


def read_corpora(folders: Sequence[Path], directions: Sequence[str], training: bool, output: Path) -> None:
    """Read corpora into a folder with a pair of text files per direction, and what to cite for them.

    The text is never in the memory as a whole.

    Args:
        folders: the folder of each corpus, whose name is its id.
        directions: the directions.
        training: whether the text is for training, see `uses_of`.
        output: the resulting folder.

    Raises:
        InputError: a file is missing, damaged or otherwise than the library expects, or a corpus has no text.
    """
    ids = [folder.name for folder in folders]
    uses = {direction: {use.id: use for use in uses_of(ids, direction, training)} for direction in directions}
    citations: dict[str, list[str]] = {}
    with replaced_folder(output) as partial:
        for direction in directions:
            for side in ("src", "ref"):
                (partial / f"{direction}.{side}.txt").touch()
        for folder in folders:
            facts = _facts_of(folder)
            citations[folder.name] = facts["citations"]
            with _lines_of(folder, facts) as lines:
                for direction in directions:
                    if use := uses[direction].get(folder.name):
                        for side, file in zip(("src", "ref"), lines[::-1] if use.reversed else lines, strict=True):
                            _append(file, partial / f"{direction}.{side}.txt")
        with atomic_write(partial / REFERENCES) as handle:
            for name, entries in citations.items():
                print(f"% {name}\n" + ("\n".join(entries) or "% mtdata names nothing to cite.") + "\n", file=handle)
    log.info("%s: what to cite", output / REFERENCES)


def _facts_of(folder: Path) -> dict[str, Any]:
    """Return what `fetch_corpus` has recorded of a corpus, after checking that its files are there.

    Raises:
        InputError: a file is missing or damaged.
    """
    facts: dict[str, Any] = parse_json(read_text(folder / ENTRY))
    for file in facts["files"]:
        path = folder / file["file"]
        if not path.is_file() or sha256(path) != file["sha256"]:
            state = "is not the file that was downloaded" if path.is_file() else "is missing"
            raise InputError(f"{path}: {state}; delete {folder} and rerun to download it again")
    return facts


@contextmanager
def _lines_of(folder: Path, facts: Mapping[str, Any]) -> Iterator[list[Path]]:
    """Yield two files with the texts of a corpus in its first and in its second language, one per line."""
    name = folder.name
    with ExitStack() as stack:
        # Beside the downloads, since a corpus may be larger than the disk for temporary files.
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpacked.")))
        files = _unpacked(folder, facts, temporary)
        lines = [temporary / "first.txt", temporary / "second.txt"]
        paths = [str(path.absolute()) for path in (folder / ENTRY, *lines, *files)]
        try:
            if facts["parsing"]["kind"].startswith("mtdata.entry:"):
                counts = _run(temporary, "read", *paths)
            else:
                # An entry of a class of its own is defined beside the index.
                counts = _run(make_index(folder.parent), "read", *paths)
        except LibraryError as error:
            raise InputError(
                f"{name}: {error}; {' and '.join(file.name for file in files)} cannot be read as mtdata expects; take"
                " another id, or convert the text and use it as a `local` corpus"
            ) from None
        if not counts["pairs"]:
            raise InputError(f"{name}: no pair is in its files; take another id")
        log.info("%s: %d pairs", name, counts["pairs"])
        for reason, meaning in (("empty", "without a text"), ("damaged", "with bytes that are no text in UTF-8")):
            if counts[reason]:
                log.warning("%s: pairs %s, which are left out: %d", name, meaning, counts[reason])
        yield lines


def _unpacked(folder: Path, facts: Mapping[str, Any], temporary: Path) -> list[Path]:
    """Return the files with the text of a corpus, after unpacking them into a folder."""
    files = [folder / file["file"] for file in facts["files"]]
    if facts["archive"]:
        (archive,) = files
        wanted = _members(folder.name, archive, facts["members"])
        places = [temporary / f"{number}-{posixpath.basename(path)}" for number, path in enumerate(wanted)]
        write_members(archive, dict(zip(wanted, places, strict=True)))
        files = places
    unpacked = []
    for number, file in enumerate(files):
        if file.suffix in (".gz", ".bz2", ".xz") and _is_compressed(file):
            # The name without the ending says how the library reads the file.
            place = temporary / f"{number}-unpacked-{file.stem}"
            unpack(file, place)
            unpacked.append(place)
        else:
            unpacked.append(file)
    return unpacked


def _members(name: str, archive: Path, patterns: Sequence[str]) -> list[str]:
    """Return the member that each pattern matches: `*` is part of a name in a tar archive, and any text in a zip.

    Raises:
        InputError: a pattern matches none or several.
    """
    with open(archive, "rb") as handle:
        is_zip = handle.read(len(ZIP)) == ZIP
    paths = {path: posixpath.normpath(path) for path in dict.fromkeys(list_members(archive))}
    found = []
    for pattern in patterns:
        matching = [path for path, tidy in paths.items() if _matches(tidy, pattern, is_zip)]
        if len(matching) != 1:
            raise InputError(
                f"{name}: {archive.name} has {len(matching) or 'no'} member{'s' * (len(matching) != 1)} {pattern},"
                f" where mtdata expects one; take another id, or unpack it and use it as a `local` corpus"
            )
        found += matching
    return found


def _matches(path: str, pattern: str, is_zip: bool) -> bool:
    if path == pattern or is_zip or not PATTERN_LETTERS.search(pattern):
        return path == pattern or fnmatch.fnmatchcase(path, pattern)
    parts, wanted = path.split("/"), posixpath.normpath(pattern).split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _is_compressed(file: Path) -> bool:
    with open(file, "rb") as handle:
        return handle.read(max(map(len, UNPACK))).startswith(tuple(UNPACK))


def _append(file: Path, target: Path) -> None:
    with open(file, "rb") as source, open(target, "ab") as sink:
        while chunk := source.read(1 << 20):
            sink.write(chunk)


def _plain_name(name: str) -> str:
    """Return the name of a file without letters that a path or a message could not have."""
    return re.sub(r"[^\w.+-]+", "_", name).lstrip(".-") or "file"


def make_index(folder: Path) -> Path:
    """Return the folder of the library's index, which is made if it is missing.

    Args:
        folder: the folder `results/download/sources/mtdata`.

    Raises:
        InputError: the library is not installed or fails.
    """
    index = folder / INDEX_FOLDER
    file = index / f"mtdata.index.{mtdata_version()}.pkl"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with locked(index):
            if not file.is_file():
                log.warning("mtdata: making its index of all corpora in %s, once; this takes half a minute", index)
                # An interrupted process leaves no index that is cut.
                with replaced_folder(index) as partial:
                    _run(partial, "make_index")
                    # The same as text, which nothing reads.
                    (partial / file.name).with_suffix(".jsonl").unlink(missing_ok=True)
    return index


def _run(index: Path, command: str, *arguments: str) -> dict[str, Any]:
    """Run a command of `mtdata_library` with the index in a folder, and return its answer.

    Raises:
        InputError: the library is not installed.
        LibraryError: it fails.
        OSError: the disk is full.
    """
    paths = [str(RESOURCES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "MTDATA": str(index.absolute()), "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"
    }  # fmt: skip
    # The library imports files `mtdata*.py` of its working folder, which are not meant here.
    done = subprocess.run(
        [sys.executable, "-m", mtdata_library.__name__, command, *arguments],
        cwd=index,
        env=environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise InputError(
            f"mtdata: its process ended with status {done.returncode}; rerun, with more memory if it was killed"
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if answer.get("missing"):
        raise InputError(f"mtdata: {answer['error']}; run `make .venv/.installed`, which installs it")
    if answer.get("errno") in FULL:
        raise OSError(answer["errno"], answer["error"])
    if "error" in answer:
        raise LibraryError(f"mtdata: {printable(answer['error'])}")
    return answer

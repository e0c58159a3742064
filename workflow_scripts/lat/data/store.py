"""A folder of downloads and published base models that several working folders share, so that each is fetched once.

An entry of the store is a folder whose name is determined by what it holds: another version of a file is another entry.
It appears only when it is complete, with a manifest, and is never changed, only replaced if it is damaged. A working
folder has symbolic links to the files of an entry: deleting its results leaves the store as it is, and the time stamps
that Snakemake sets are those of the links.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from ..disk import FORBIDDEN, FULL
from ..files import InputError, parse_json, read_text, replaced_folder
from ..manifest import MANIFEST, damage_of, write_manifest
from ..runtime import log
from .locking import locked

# Modification time of every file in a store, 2000-01-01. Snakemake compares the later time of a link and of its target
# with the results that were made from it: an entry that is fetched again must not rerun anything in a working folder.
MODIFIED = 946684800
KEY_DIGITS = 16
LABEL_LENGTH = 80
NOTHING: Mapping[str, str] = {}


def entry_name(kind: str, label: str, *identity: object) -> str:
    """Return the name of an entry, which is a safe file name.

    Args:
        kind: what the entry is, such as `source`.
        label: how people recognise the entry.
        identity: JSON values that determine the content of the entry.
    """
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:KEY_DIGITS]
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_.+-]+', '--', label)[:LABEL_LENGTH]}-{key}"


def provide(
    store: Path,
    name: str,
    make: Callable[[Path], None],
    expected: Mapping[str, str] = NOTHING,
    resumes: bool = True,
) -> Path:
    """Return the folder of an entry that is whole; it is made if it is missing, and made again if it is damaged.

    Only one process at a time makes an entry. A store that cannot be written can be used as long as all entries are
    there.

    Args:
        store: folder of the store; it is created if it is missing.
        name: name of the entry, see `entry_name`.
        make: writes the files of the entry into a folder.
        expected: sha256 of files of the entry, as far as they are known from elsewhere.
        resumes: whether `make` continues with what an interrupted call has left in the folder; otherwise, the folder is
            empty.

    Raises:
        InputError: the store cannot be read or written, or its disk is full.
    """
    store = store.absolute()
    entry = store / name
    with _explained(store):
        if not _damage(entry, expected):
            return entry
        try:
            store.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"{store}: is no folder; set `shared` to a folder") from None
        with locked(entry):
            # Another process may have completed the entry since.
            damage = _damage(entry, expected)
            if not damage:
                return entry
            if entry.exists():
                log.warning("%s: %s; this entry of the shared folder is damaged and is made again", entry, damage)
            # Without permission, nobody could continue with the files of another user.
            unfinished = store / f".{name}.{os.getuid()}.unfinished"
            if not resumes and unfinished.exists():
                shutil.rmtree(unfinished)
            unfinished.mkdir(exist_ok=True)
            try:
                make(unfinished)
            except BaseException:
                if resumes:
                    with contextlib.suppress(OSError):
                        unfinished.rmdir()  # if nothing has arrived
                else:
                    shutil.rmtree(unfinished, ignore_errors=True)
                raise
            _complete(unfinished)
            _replace(entry, unfinished)
    return entry


def checksum_of(entry: Path, name: str) -> str:
    """Return the sha256 of a file according to the manifest of its entry; empty if there is none."""
    try:
        return str(parse_json(read_text(entry / MANIFEST))[name]["sha256"])
    except (InputError, ValueError, KeyError, TypeError):
        return ""


def link_file(file: Path, link: Path) -> None:
    """Make `link` a symbolic link to a file of the store, in place of what is there.

    The target is absolute, but may lead through other links, such as the name of a disk.
    """
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(file)
    os.replace(temporary, link)


def link_folder(entry: Path, folder: Path) -> None:
    """Make `folder` a folder of symbolic links to the files of an entry, in place of what is there.

    The folder itself is no link, because Snakemake writes a time stamp into it. The links are no hard links, which
    need the same disk, and often the same owner.
    """
    if folder.is_symlink():
        folder.unlink()
    with replaced_folder(folder) as partial:
        for name in (*parse_json(read_text(entry / MANIFEST)), MANIFEST):
            link_file(entry / name, partial / name)


def check_links(results: Path) -> None:
    """Check that what the links of a working folder lead to is there; Snakemake itself fails without naming a remedy.

    Args:
        results: the folder `results` of the working folder.

    Raises:
        InputError: a link leads nowhere.
    """
    sources, models = results / "download" / "sources", results / "base_model"
    # A pattern without wildcards in its last part would leave out links that lead nowhere.
    for path in [*models.glob("*/*"), *models.glob("*/model/*"), *sources.glob("*/*")]:
        if not path.is_symlink() or path.exists():
            continue
        if path.is_relative_to(sources):
            remedy = f"delete such links (`find {sources} -xtype l -delete`)"
        else:
            remedy = f"delete {path if path.parent.parent == models else path.parent}"
        raise InputError(
            f"{path}: leads to {path.readlink()}, which is missing; make it available again, or {remedy}, and what is"
            " needed is fetched again"
        )


def _damage(entry: Path, expected: Mapping[str, str]) -> str:
    """Describe what is wrong with an entry; the result is empty if it is whole.

    Raises:
        InputError: it cannot be read.
    """
    try:
        if not entry.is_dir():
            return "no such folder"
        try:
            (entry / MANIFEST).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return f"{MANIFEST} is missing"
        if damage := damage_of(entry):
            return damage
    except PermissionError as error:
        raise InputError(
            f"{error.filename}: this file of the shared folder cannot be read; let its owner make it readable"
            " (`chmod -R a+rX`), or set `shared` to another folder"
        ) from None
    # Links are made for the names in the manifest: none may lead out of a folder.
    for path in map(PurePosixPath, parse_json(read_text(entry / MANIFEST))):
        if path.is_absolute() or ".." in path.parts:
            return f"{MANIFEST} is damaged"
    for name, sha256 in expected.items():
        if checksum_of(entry, name) != sha256:
            return f"{name} is another file than expected"
    return ""


def _complete(folder: Path) -> None:
    """Write the manifest of an entry, and give its files the permissions and the time of files in a store.

    Whoever may read new files of this user may read them. Nobody may write to them, not even through the links.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    write_manifest(folder, files)
    readable = (folder / MANIFEST).stat().st_mode & 0o444
    for path in {*files, folder / MANIFEST}:
        path.chmod(readable)
        os.utime(path, (time.time(), MODIFIED))


def _replace(entry: Path, unfinished: Path) -> None:
    """Put a complete folder in the place of an entry, and remove what interrupted calls have left of it."""
    damaged = entry.with_name(f".{entry.name}.{os.getpid()}.damaged")
    if entry.exists():
        entry.rename(damaged)
    unfinished.rename(entry)
    for path in entry.parent.iterdir():
        if re.fullmatch(rf"\.{re.escape(entry.name)}\.[0-9]+\.(unfinished|damaged)", path.name):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _explained(store: Path) -> Iterator[None]:
    """Turn the errors of the store's disk into errors that name a remedy."""
    try:
        yield
    except OSError as error:
        # Errors without a file are those of writing to an open file or of a connection.
        place = Path(error.filename) if isinstance(error.filename, str) else None
        if error.errno in FULL and (place is None or place.is_relative_to(store)):
            raise InputError(
                f"{store}: no space left on the disk of the shared folder; free some, then run again"
            ) from None
        if error.errno in FORBIDDEN and place and (place.is_relative_to(store) or store.is_relative_to(place)):
            raise InputError(
                f"{place}: the shared folder cannot be written ({error.strerror}); make it writable, or set `shared`"
                " to another folder"
            ) from None
        raise

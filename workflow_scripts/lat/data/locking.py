"""Locks for files and folders that several processes may want to make at once, such as a shared download."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..runtime import log

# What a file system without locks answers, such as some network file systems.
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def locked(target: Path) -> Iterator[bool]:
    """Keep other processes from making the same file or folder until the `with` block ends.

    The lock ends with the process, however it ends.

    Args:
        target: the file or folder; the lock is a hidden file beside it.

    Yields:
        Whether another process had the lock before, so that the target may be there now.
    """
    path = target.with_name(f".{target.name}.lock")
    waited = False
    while True:
        lock = _open(path)
        waited = _lock(lock, target) or waited
        if _is_at(lock, path):
            break
        # The process that had the lock has deleted the file, and a third one may have made it anew.
        os.close(lock)
    try:
        yield waited
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _open(path: Path) -> int:
    """Open a lock file; whoever may write to its folder may use it, also after another user's process was killed."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    # The file may be another user's, and some file systems have no permissions.
    with suppress(OSError):
        os.fchmod(lock, path.parent.stat().st_mode & 0o666)
    return lock


def _lock(lock: int, target: Path) -> bool:
    """Lock an open file; the result says whether another process had it before."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: another process is downloading or converting it; waiting for it", target)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return True
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        log.warning("%s: its file system has no locks; let no other process download or convert it now", target)
    return False


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False

"""Check disks at the start, and turn disk errors into one-line messages."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from .files import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
# Enough for locks and logs; the plan of a dry-run estimates the disk space of the whole run.
PROBE_BYTES = 1 << 16
MEGABYTE = 1e6


def disk_problem(error: OSError) -> str:
    """Return a one-line message with a remedy for a disk error, or an empty text for other errors."""
    place = error.filename or _fullest()
    if error.errno in FULL:
        return f"{place}: no space left on this disk; free some, then run again: finished jobs are kept"
    if error.errno in FORBIDDEN:
        return f"{place}: cannot be written ({error.strerror}); make it writable, or work elsewhere (--directory)"
    return ""


def _fullest() -> str:
    """Return the folder with the least free space among those that every step writes to, with this space."""
    places = {str(path): shutil.disk_usage(path).free for path in (Path.cwd(), tempfile.gettempdir())}
    place = min(places, key=lambda name: places[name])
    return f"{place} ({places[place] / MEGABYTE:.0f} MB free)"


def check_disks(folder: Path) -> None:
    """Check that the working folder and the folder for temporary files can be written.

    Raises:
        InputError: one of them is missing, read-only or full.
    """
    temporary = os.environ.get("TMPDIR")
    if temporary and not Path(temporary).is_dir():
        raise InputError(f"TMPDIR: no folder {temporary}; create it, or unset the variable")
    try:
        for place in (folder, tempfile.gettempdir()):
            with tempfile.TemporaryFile(dir=place) as handle:
                handle.write(bytes(PROBE_BYTES))
                handle.flush()
    except OSError as error:
        error.filename = error.filename and str(Path(error.filename).parent)
        raise InputError(disk_problem(error) or f"{place}: cannot be written ({error})") from None

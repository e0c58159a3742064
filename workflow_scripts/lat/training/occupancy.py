"""A mark in the folder of a run's state, by which a second run of the same training finds that the first one is alive.

Such a second run starts where Snakemake was killed, its jobs ran on, and the workflow was unlocked and started again.
File locks do not serve here: some network file systems have none, or none between two nodes.
"""

import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from ..files import InputError, replaced_file
from ..runtime import log

MARK = "in-use.json"
BEAT = 10.0  # seconds after which a run renews its mark
# A mark that is not renewed for this time belongs to a run that has ended, such as on a node that failed.
EXPIRES = 90.0


@dataclass
class Occupancy:
    """A mark that this process has set and renews until it is released.

    Attributes:
        path: the file.
        token: tells this mark from those of other processes.
        lost: another process has replaced the mark, because this one was not renewed for too long.
    """

    path: Path
    token: str
    lost: bool = False

    def __post_init__(self) -> None:
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Check that the folder still belongs to this run.

        Raises:
            InputError: another run has taken it over.
        """
        if self.lost:
            raise InputError(
                f"{self.path.parent}: another run has taken over this folder, because this one did not answer for"
                f" {EXPIRES:.0f} s; nothing more is written"
            )

    def release(self) -> None:
        """Delete the mark, if it is still that of this process."""
        if not self._released.is_set():
            self._released.set()
            self._thread.join()
            if _token(self.path) == self.token:
                self.path.unlink(missing_ok=True)

    def _renew(self) -> None:
        beat = 0
        while not self._released.wait(BEAT):
            if _token(self.path) != self.token:
                self.lost = True
                return
            beat += 1
            try:
                with replaced_file(self.path) as partial:
                    partial.write_text(json.dumps(_mark(self.token, beat)))
            except OSError as error:
                # A full disk, for example. If it lasts, other runs will take this one for dead.
                log.warning("%s: cannot be renewed (%s)", self.path, error)


def occupy(folder: Path, expires: float = EXPIRES) -> Occupancy:
    """Mark a folder as used by this process, or find that a living process uses it.

    Whether a process of the same machine lives is known at once. A mark of another machine is watched for a while: if
    it is not renewed, its process is dead.

    Args:
        folder: the folder, which is made if it is not there.
        expires: seconds for which the mark of another machine is watched.

    Raises:
        InputError: a living process uses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, token = folder / MARK, uuid.uuid4().hex
    own = folder / f".{token}"
    own.write_text(json.dumps(_mark(token)))
    try:
        while True:
            try:
                # A hard link is made by one process only, on network file systems too, and has its content at once.
                os.link(own, path)
                return Occupancy(path, token)
            except FileExistsError:
                _await_end(path, expires)
    finally:
        own.unlink()


def _await_end(path: Path, expires: float) -> None:
    """Return when the process of a mark is known to have ended and its mark is deleted.

    Raises:
        InputError: it lives.
    """
    found = _read(path)
    if found is None:
        return
    if found.get("machine") == _machine():
        alive = _lives(found)
    elif found.get("job") and found.get("job") == os.environ.get("SLURM_JOB_ID"):
        alive = False  # this job, which Slurm started again on another node
    else:
        log.info("%s: waiting up to %.0f s for a sign of life of its process", path, expires)
        alive = _is_renewed(path, found, expires)
    if alive:
        job = found.get("job")
        where = f"process {found.get('pid')} on {found.get('host')}" + (f", Slurm job {job}" if job else "")
        stop = f"scancel {job}" if job else f"kill {found.get('pid')}"
        raise InputError(
            f"{path.parent}: in use by {where}, which is alive; wait for its end or stop it with `{stop}`, then run"
            " again"
        )
    # Another process may do the same, so that only the mark that was read may be deleted.
    taken = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.rename(taken)
    except FileNotFoundError:
        return
    if _token(taken) != found.get("token"):
        os.link(taken, path)
    taken.unlink()


def _is_renewed(path: Path, found: dict[str, Any], expires: float) -> bool:
    """Watch a mark; the result says whether it changes or, if another process replaces it, exists."""
    deadline = time.monotonic() + expires
    while time.monotonic() < deadline:
        time.sleep(min(1.0, expires / 10))
        now = _read(path)
        if now is None:
            return False
        if now != found:
            return True
    return False


def _lives(found: dict[str, Any]) -> bool:
    """Tell whether the process of a mark of this machine lives; its start tells it from a later one with its number."""
    try:
        return abs(psutil.Process(int(found["pid"])).create_time() - float(found["started"])) < 1
    except (psutil.NoSuchProcess, KeyError, ValueError):
        return False


def _machine() -> str:
    """Identify the machine, its start and its space of process numbers, in which containers differ."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {psutil.boot_time():.0f} {namespace.readlink() if namespace.exists() else ''}"


def _mark(token: str, beat: int = 0) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "started": psutil.Process().create_time(),
        "machine": _machine(),
        "token": token,
        "beat": beat,
    }


def _read(path: Path) -> dict[str, Any] | None:
    """Return a mark; None if there is none, {} if it is damaged."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _token(path: Path) -> str | None:
    return (_read(path) or {}).get("token")

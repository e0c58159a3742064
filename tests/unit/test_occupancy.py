"""A second run of the same training finds that the first one is alive, and takes over from one that is not."""

import json
import multiprocessing
import os
import time

import psutil
import pytest

from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.training import occupancy
from workflow_scripts.lat.training.occupancy import EXPIRES, MARK, occupy


@pytest.fixture(autouse=True)
def outside_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def mark_of(folder) -> dict:
    return json.loads((folder / MARK).read_text())


def put_mark(folder, **changed) -> None:
    """Write the mark of another process: this one's, with changes."""
    folder.mkdir(exist_ok=True)
    (folder / MARK).write_text(json.dumps(occupancy._mark("theirs") | changed))


def test_a_folder_in_use_is_refused_and_a_released_one_is_not(tmp_path):
    first = occupy(tmp_path / "state")
    with pytest.raises(
        InputError, match=rf"state: in use by process {os.getpid()} on .*, which is alive; .*`kill \d+`"
    ):
        occupy(tmp_path / "state")
    first.release()
    assert not list((tmp_path / "state").iterdir())
    second = occupy(tmp_path / "state")
    second.release()
    second.release()


def test_the_message_names_the_job_to_cancel(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    first = occupy(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    with pytest.raises(InputError, match=r"Slurm job 17, which is alive; .* `scancel 17`, then run again"):
        occupy(tmp_path)
    first.release()


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": 2**22 + 1},  # no such process
        {"started": psutil.Process().create_time() - 100},  # the number has been given to another process
    ],
    ids=["ended", "other"],
)
def test_a_process_of_this_machine_that_has_ended_is_replaced_at_once(tmp_path, changed):
    put_mark(tmp_path, **changed)
    started = time.monotonic()
    occupy(tmp_path).release()
    assert time.monotonic() - started < EXPIRES / 10


def renew(path, seconds):
    for beat in range(int(seconds / 0.1)):
        content = json.loads(path.read_text()) | {"beat": beat}
        path.with_suffix(".new").write_text(json.dumps(content))
        path.with_suffix(".new").replace(path)
        time.sleep(0.1)


def test_a_mark_of_another_machine_is_watched(tmp_path):
    put_mark(tmp_path, machine="elsewhere", host="node7", job="5")
    renewing = multiprocessing.Process(target=renew, args=(tmp_path / MARK, 3))
    renewing.start()
    with pytest.raises(InputError, match=r"in use by process \d+ on node7, Slurm job 5, which is alive"):
        occupy(tmp_path, expires=2)
    renewing.join()
    started = time.monotonic()
    occupy(tmp_path, expires=1).release()
    assert time.monotonic() - started >= 1


def test_a_job_that_slurm_starts_again_elsewhere_does_not_wait_for_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    put_mark(tmp_path, machine="elsewhere", job="5")
    occupy(tmp_path, expires=60).release()


def test_a_damaged_mark_is_replaced(tmp_path):
    (tmp_path / MARK).write_text("{")
    occupy(tmp_path, expires=0.1).release()


def test_a_living_run_renews_its_mark_and_notices_that_it_was_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(occupancy, "BEAT", 0.05)
    found = occupy(tmp_path)
    deadline = time.monotonic() + 10
    while mark_of(tmp_path)["beat"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    found.check()
    put_mark(tmp_path)
    while not found.lost:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(InputError, match="another run has taken over this folder"):
        found.check()
    found.release()
    assert mark_of(tmp_path)["token"] == "theirs"


def take(folder, taken):
    try:
        occupy(folder, expires=0.3)
        taken.put(os.getpid())
        time.sleep(2)
    except InputError:
        taken.put(None)


def test_of_several_runs_that_find_a_dead_one_only_one_goes_on(tmp_path):
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        put_mark(folder, pid=2**22 + 1)
        taken = multiprocessing.Queue()
        runs = [multiprocessing.Process(target=take, args=(folder, taken)) for _ in range(4)]
        for run in runs:
            run.start()
        results = [taken.get(timeout=30) for _ in runs]
        for run in runs:
            run.join()
        assert sum(result is not None for result in results) == 1, results

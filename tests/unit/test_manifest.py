"""A folder of weights is read only as it was written."""

import pytest

from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.manifest import MANIFEST, check_manifest, damage_of, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").write_bytes(b"0123456789")
    (tmp_path / "config").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path


def test_an_untouched_folder_passes(folder):
    check_manifest(folder)
    (folder / MANIFEST).unlink()
    check_manifest(folder)  # models from elsewhere have no manifest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "weights").write_bytes(b"0123456780"), "the content of weights has changed"),
        (lambda folder: (folder / "weights").write_bytes(b"012345678"), "weights has 9 bytes instead of 10"),
        (lambda folder: (folder / "config").unlink(), "config is missing"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "manifest.json is damaged"),
        (lambda folder: (folder / MANIFEST).write_text("[" * 100_000), "manifest.json is damaged"),
        (lambda folder: (folder / MANIFEST).write_text('{"weights": 3}'), "manifest.json is damaged"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff"), "manifest.json is damaged"),
    ],
)
def test_damage_is_named(folder, change, message):
    change(folder)
    with pytest.raises(InputError, match=message):
        check_manifest(folder)


def test_large_models_may_be_compared_by_size_alone(folder, monkeypatch):
    monkeypatch.setenv("LAT_VERIFY", "sizes")
    (folder / "weights").write_bytes(b"0123456780")
    assert not damage_of(folder)
    (folder / "weights").write_bytes(b"0")
    assert damage_of(folder)

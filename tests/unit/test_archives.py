"""Archives that are damaged or made to do harm; those of the publishers are in the tests of catalogues and corpora."""

import gzip
import io
import random
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.test_corpora import tar_of, zip_of
from workflow_scripts.lat.data import archives
from workflow_scripts.lat.data.archives import damage_of, list_members, read_members, unpack, write_members
from workflow_scripts.lat.files import InputError

TEXTS = {"data/one.txt": b"one " * 5000, "data/two.txt": bytes(range(256)) * 50}
LIMIT = 1 << 20


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def tar_with(**attributes) -> bytes:
    """A tar archive with one member `a` with these attributes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("a")
        for name, value in attributes.items():
            setattr(info, name, value)
        archive.addfile(info)
    return buffer.getvalue()


def read_all(path: Path, limit: int = LIMIT) -> dict[str, bytes]:
    return dict(read_members(path, lambda name: True, limit))


@pytest.mark.parametrize("mode", ["zip", "", "gz", "bz2", "xz"])
def test_the_kind_of_an_archive_is_that_of_its_content(tmp_path, mode):
    path = tmp_path / "archive"
    if mode == "zip":
        path.write_bytes(zip_of(TEXTS, zipfile.ZIP_DEFLATED))
    else:
        with tarfile.open(path, f"w:{mode}") as archive:
            folder = tarfile.TarInfo("data")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name, content in TEXTS.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert list_members(path) == list(TEXTS)
    assert read_all(path) == TEXTS
    assert dict(read_members(path, "data/two.txt".__eq__, LIMIT)) == {"data/two.txt": TEXTS["data/two.txt"]}
    assert damage_of(path) == ""


def test_names_of_any_length_and_letters_are_read(tmp_path):
    names = {f"{'x' * 300}/é.txt": b"text"}
    for content in (zip_of(names), tar_of(names)):
        assert read_all(written(tmp_path / "archive", content)) == names


def test_what_is_read_has_a_limit_in_all(tmp_path):
    path = written(tmp_path / "a.zip", zip_of(TEXTS, zipfile.ZIP_DEFLATED))
    assert read_all(path, limit=32800) == TEXTS
    with pytest.raises(InputError, match=r"a\.zip: cannot be read \(member data/two\.txt: larger than any file that"):
        read_all(path, limit=32799)


def test_a_member_that_unpacks_to_more_than_it_says_is_never_in_memory(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    call = f"read_members(Path({str(path)!r}), bool, 1 << 20)"
    assert "a.zip: cannot be read (member a: larger than" in limited(call)
    # Both headers state a size of ten bytes.
    path.write_bytes(path.read_bytes().replace((300 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "a.zip: cannot be read (member a: Bad CRC-32 for file 'a')" in limited(call)


def limited(call: str) -> str:
    """The error of a call in a process with 250 MB of memory."""
    code = (
        "from pathlib import Path\nfrom workflow_scripts.lat.data.archives import *\n"
        "from workflow_scripts.lat.files import InputError\nimport resource\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (250 << 20, 250 << 20))\ntry: {call}\nexcept InputError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_any_size_is_never_in_memory(tmp_path, kind):
    path = tmp_path / "a.tgz"
    with gzip.open(path, "wb", compresslevel=1) as handle:
        info = tarfile.TarInfo("a")
        info.type, info.size = kind, 300 << 20
        handle.write(info.tobuf())
        for _ in range(300):
            handle.write(bytes(1 << 20))
    assert "a.tgz: cannot be read (a header of 314572800 bytes)" in limited(f"list_members(Path({str(path)!r}))")


def test_a_header_that_leads_backwards_ends_the_reading(tmp_path):
    first, second = tarfile.TarInfo("a"), tarfile.TarInfo("b")
    second.size = -tarfile.BLOCKSIZE  # the next header is this one again, without end
    content = first.tobuf() + second.tobuf(tarfile.GNU_FORMAT) + bytes(2 * tarfile.BLOCKSIZE)
    with pytest.raises(InputError, match=r"a\.tar: cannot be read \(a header leads backwards\)"):
        list_members(written(tmp_path / "a.tar", content))


def test_the_number_of_members_and_the_size_when_unpacked_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    for content in (zip_of, tar_of):
        path = written(tmp_path / "archive", content({str(number): b"" for number in range(4)}))
        with pytest.raises(InputError, match="more than 3 members"):
            list_members(path)
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 20_000)
    with pytest.raises(InputError, match="more than 20000 bytes when unpacked"):
        list_members(written(tmp_path / "archive", tar_of(TEXTS)))


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "a"},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
    ],
)
def test_links_and_devices_are_refused_only_if_they_are_wanted(tmp_path, attributes):
    path = written(tmp_path / "a.tar", tar_with(**attributes))
    with pytest.raises(
        InputError, match=r"a\.tar: cannot be read \(member a: a link or device, not a file\); delete it"
    ):
        read_all(path)
    assert read_members(path, "b".__eq__, LIMIT) == []
    assert damage_of(path) == ""


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO])
def test_links_in_zip_archives_are_refused(tmp_path, kind):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a")
        info.external_attr = (kind | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match=r"a\.zip: cannot be read \(member a: a link or device"):
        read_all(path)


def test_encrypted_members_and_rare_methods_are_refused(tmp_path):
    content = bytearray(zip_of({"a": b"text"}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    with pytest.raises(InputError, match=r"member a: encrypted\)"):
        read_all(written(tmp_path / "a.zip", bytes(content)))
    with pytest.raises(InputError, match=r"member a: compressed by method 12; only deflate is read\)"):
        read_all(written(tmp_path / "a.zip", zip_of({"a": b"text"}, zipfile.ZIP_BZIP2)))


@pytest.mark.parametrize("make", [tar_of, lambda members: gzip.decompress(tar_of(members)), zip_of])
def test_no_cut_archive_is_taken_for_a_whole_one(tmp_path, make):
    content = make(TEXTS)
    path = tmp_path / "archive"
    end = len(content.rstrip(b"\0"))
    for length in {*range(0, end, max(1, end // 60)), end - 1, *range(512, end, 512)}:
        path.write_bytes(content[:length])
        assert damage_of(path), length
        with pytest.raises(InputError, match=r"archive: cannot be read .*; delete it, then rerun to download it again"):
            read_all(path)


def test_a_damaged_header_is_not_the_end_of_an_archive(tmp_path):
    content = bytearray(gzip.decompress(tar_of(TEXTS)))
    content[content.index(b"data/two.txt")] ^= 0xFF
    path = written(tmp_path / "a.tar", bytes(content))
    with pytest.raises(InputError, match=r"cut or damaged after member data/one\.txt"):
        list_members(path)


def test_a_damaged_archive_inside_an_archive_is_named(tmp_path):
    inner = zip_of({"train.txt": b"text" * 100})
    path = written(tmp_path / "a.tgz", tar_of({"texts/inner.zip": inner.replace(b"texttext", b"textTEXT", 1)}))
    with pytest.raises(InputError, match=r"a\.tgz: .*member texts/inner\.zip: member train\.txt: Bad CRC-32"):
        read_members(path, bool, LIMIT, nested=True)


def test_every_damage_is_one_line(tmp_path):
    generator = random.Random(1)
    path = tmp_path / "archive"
    sources = [zip_of(TEXTS, zipfile.ZIP_DEFLATED), tar_of(TEXTS), gzip.decompress(tar_of(TEXTS))]
    for _ in range(400):
        content = bytearray(generator.choice(sources))
        for _ in range(generator.randint(1, 3)):
            position = generator.randrange(min(len(content), 700)) * generator.choice((1, -1))
            content[position : position + 1] = generator.choice((b"", b"\xff", b"\0", b"9", b"\x80\x7f"))
        path.write_bytes(content)
        assert "\n" not in damage_of(path)
        try:
            read_all(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_name_cannot_write_on_the_terminal(tmp_path):
    name = "a\x1b[2J\nb.txt"
    for content in (zip_of({name: b""}), tar_of({name: b""}), tar_of({"a\udcff[2J\udcffb.txt": b""})):
        assert list_members(written(tmp_path / "archive", content)) == ["a?[2J?b.txt"]


def test_a_missing_archive_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"a\.zip: no such file; fetch the source first"):
        list_members(tmp_path / "a.zip")


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_members_are_written_to_the_files_that_are_named(tmp_path, pack):
    path = written(tmp_path / "archive", pack(TEXTS))
    write_members(path, {"data/two.txt": tmp_path / "two"})
    assert (tmp_path / "two").read_bytes() == TEXTS["data/two.txt"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["archive", "two"]


def test_a_link_is_not_written(tmp_path):
    path = written(tmp_path / "a.tar", tar_with(type=tarfile.SYMTYPE, linkname="/etc/passwd"))
    with pytest.raises(InputError, match=r"a\.tar: cannot be read \(member a: a link or device, not a file\)"):
        write_members(path, {"a": tmp_path / "out"})


def test_a_full_disk_is_not_taken_for_a_damaged_archive(tmp_path):
    path = written(tmp_path / "a.zip", zip_of(TEXTS))
    with pytest.raises(OSError, match="No space left"):
        write_members(path, {"data/one.txt": Path("/dev/full")})
    with pytest.raises(OSError, match="No space left"):
        unpack(written(tmp_path / "a.gz", gzip.compress(TEXTS["data/one.txt"])), Path("/dev/full"))


def test_compressed_files_are_unpacked_up_to_a_limit(tmp_path, monkeypatch):
    path = written(tmp_path / "a.gz", gzip.compress(b"one") + gzip.compress(b"two"))
    unpack(path, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    with pytest.raises(InputError, match=r"a: cannot be read \(not compressed by gzip, bzip2 or xz\)"):
        unpack(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 5)
    with pytest.raises(InputError, match=r"more than 5 bytes when unpacked"):
        unpack(path, tmp_path / "b")

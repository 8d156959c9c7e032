"""Users' code: packed by a client, verified and unpacked by the service, hostile or not."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from hpsearch.errors import UploadError
from hpsearch.service.client.packing import pack_folder
from hpsearch.service.uploads import UploadLimits, Uploads
from tests.support.archives import archive


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    limits = UploadLimits(archive=200_000, unpacked=2_000_000, files=20, ratio=100)
    return Uploads(tmp_path / "uploads", limits)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "package").mkdir(parents=True)
    (folder / "train.py").write_text("def train(config, trial): ...\n")
    (folder / "package" / "model.py").write_text("width = 8\n")
    return folder


def store(uploads: Uploads, content: bytes) -> Path:
    return uploads.store(hashlib.sha256(content).hexdigest(), [content])


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def named(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("x")
    entry.filename = name  # as ZipInfo itself would not take it
    return entry


def is_clean(uploads: Uploads) -> bool:
    return not uploads.path.exists() or not any(uploads.path.iterdir())


def test_a_folder_arrives_as_it_was(uploads: Uploads, folder: Path) -> None:
    packed, code_hash = pack_folder(folder)
    place = uploads.store(code_hash, [packed[:100], packed[100:]])
    assert place.name == code_hash
    assert (place / "train.py").read_text() == (folder / "train.py").read_text()
    assert (place / "package" / "model.py").read_text() == "width = 8\n"
    assert stat.S_IMODE((place / "train.py").stat().st_mode) == 0o444
    assert uploads.folder(code_hash) == place
    assert uploads.store(code_hash, []) == place  # it is there: nothing is read
    assert [each.name for each in uploads.path.iterdir()] == [code_hash]


def test_what_nobody_uses_is_swept_after_a_while(uploads: Uploads) -> None:
    old, used, new = (store(uploads, archive((f"{n}/a.py", b""))) for n in ("old", "used", "new"))
    for place in (old, used):
        os.utime(place, (1, 1))
    uploads.folder(None)
    assert uploads.sweep({used.name}, min_age_s=60) == [old.name]
    assert sorted(p.name for p in uploads.path.iterdir()) == sorted([used.name, new.name, "empty"])
    os.utime(new, (1, 1))
    uploads.store(new.name, [])  # somebody wants it again
    assert uploads.sweep({used.name}, min_age_s=60) == []


def test_the_same_files_have_the_same_hash(folder: Path) -> None:
    first = pack_folder(folder)
    os.utime(folder / "train.py", (1, 1))
    assert pack_folder(folder) == first
    (folder / "train.py").write_text("other")
    assert pack_folder(folder)[1] != first[1]


def test_what_is_ignored_stays_at_home(folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / ".gitignore").write_text("*.log\n/data/\n!keep.log\n")
    (folder / "package" / ".gitignore").write_text("secret.txt\n")
    for name in ("a.log", "keep.log", "package/secret.txt", "secret.txt"):
        (folder / name).write_text("x")
    (folder / "data").mkdir()
    (folder / "data" / "big.bin").write_text("x")
    with zipfile.ZipFile(io.BytesIO(pack_folder(folder)[0])) as opened:
        assert sorted(opened.namelist()) == [
            ".gitignore",
            "keep.log",
            "package/.gitignore",
            "package/model.py",
            "secret.txt",
            "train.py",
        ]


def test_a_large_folder_is_told_with_its_largest_files(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(os.urandom(3_000_000))
    with pytest.raises(UploadError, match=r"at most 1 MB.*weights\.bin \(3 MB\).*\.gitignore"):
        pack_folder(folder, max_bytes=1_000_000)


def test_a_link_that_leads_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UploadError, match="link"):
        pack_folder(folder)


@pytest.mark.parametrize(
    "name",
    ["../up.py", "/etc/cron.d/x", "a/../../b", "C:\\x", "a\\..\\b", "C:x", "a\nb", "..", "\0"],
)
def test_a_path_that_escapes_is_refused(uploads: Uploads, name: str) -> None:
    with pytest.raises(UploadError):
        store(uploads, archive((named(name), b"x")))
    assert is_clean(uploads)
    assert not (uploads.path.parent / "up.py").exists()


def test_links_are_refused(uploads: Uploads) -> None:
    with pytest.raises(UploadError, match="no links, but got 'passwd'"):
        store(uploads, archive((link("passwd"), b"/etc/passwd")))
    assert is_clean(uploads)


def test_a_zip_bomb_is_refused_by_what_it_says(uploads: Uploads) -> None:
    with pytest.raises(UploadError, match="must unpack to at most 2,000,000 bytes"):
        store(uploads, archive(("zeros", b"\0" * 20_000_000)))
    assert is_clean(uploads)


def test_a_zip_bomb_that_lies_about_its_size_is_refused(uploads: Uploads) -> None:
    content = bytearray(archive(("zeros", b"\0" * 20_000_000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + offset, 1000)
    with pytest.raises(UploadError):
        store(uploads, bytes(content))
    assert is_clean(uploads)


def test_too_many_files_are_refused(uploads: Uploads) -> None:
    with pytest.raises(UploadError, match="at most 20 files, but has 21"):
        store(uploads, archive(*((f"{i}.py", b"") for i in range(21))))
    assert is_clean(uploads)


def directory(size: int, zip64: bool = False) -> bytes:
    """Return the end of an archive that says that its directory is of so many bytes."""
    locator = b"PK\x06\x07" + bytes(16) if zip64 else b""
    return bytes(100) + locator + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0)


@pytest.mark.parametrize(
    "end", [directory(10_001), directory(46, zip64=True)], ids=("large", "64")
)
def test_a_large_directory_is_not_parsed(
    uploads: Uploads, end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(UploadError, match="at most 20 files, but its directory is of"):
        store(uploads, end)
    assert is_clean(uploads)


def test_an_archive_with_a_comment_is_refused(uploads: Uploads) -> None:
    content = io.BytesIO(archive(("a.py", b"")))
    with zipfile.ZipFile(content, "a") as opened:
        opened.comment = b"code of mine"
    with pytest.raises(UploadError, match="without a comment"):
        store(uploads, content.getvalue())
    assert is_clean(uploads)


def test_an_oversized_body_is_not_read_to_its_end(uploads: Uploads) -> None:
    read = []

    def body() -> object:
        for number in range(1000):
            read.append(number)
            yield b"x" * 50_000

    with pytest.raises(UploadError, match="at most 200,000 bytes"):
        uploads.store("0" * 64, body())  # type: ignore[arg-type]
    assert len(read) == 5
    assert is_clean(uploads)


@pytest.mark.parametrize("code_hash", ["0" * 64, "../../x", "", "0" * 63 + "G"])
def test_a_wrong_hash_is_refused(uploads: Uploads, code_hash: str) -> None:
    with pytest.raises(UploadError, match="hash"):
        uploads.store(code_hash, [archive(("a.py", b""))])
    assert is_clean(uploads)
    with pytest.raises(UploadError, match="must be uploaded"):
        uploads.folder(code_hash)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"no archive at all", b"PK" * 500])
def test_what_is_no_archive_is_refused(uploads: Uploads, content: bytes) -> None:
    with pytest.raises(UploadError, match="must be a zip archive"):
        store(uploads, content)
    assert is_clean(uploads)


def test_files_in_each_others_way_are_refused(uploads: Uploads) -> None:
    with pytest.raises(UploadError):
        store(uploads, archive(("a", b"x"), ("a/b", b"x")))
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = archive(("a", b"x"), ("a", b"y"))
    with pytest.raises(UploadError, match="must be unique"):
        store(uploads, doubled)
    assert is_clean(uploads)

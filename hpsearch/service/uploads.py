"""Users' code on the service: archives that were checked, unpacked once, by content hash."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import time
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hpsearch.errors import UploadError

_HASH = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
#: the end of an archive without a comment (APPNOTE.TXT 4.3.16), and what ZIP64 puts before it
_END = struct.Struct("<4s4H2LH")
_END_MARK, _ZIP64_MARK, _ZIP64_SIZE = b"PK\x05\x06", b"PK\x06\x07", 20
#: bytes of an archive's directory for each file that it may have
_MAX_BYTES_PER_FILE = 500


@dataclass(frozen=True)
class UploadLimits:
    """What an archive may be; sizes in bytes."""

    archive: int = 100_000_000
    unpacked: int = 500_000_000
    files: int = 10_000
    #: unpacked over packed; text seldom exceeds 10
    ratio: int = 200


class Uploads:
    """A folder with a folder for each upload, named by its hash: `HASH/…`, never changed."""

    def __init__(self, path: Path, limits: UploadLimits | None = None) -> None:
        self.path = path
        self.limits = limits or UploadLimits()

    def has(self, code_hash: str) -> bool:
        """Whether an upload is there."""
        return bool(_HASH.fullmatch(code_hash)) and (self.path / code_hash).is_dir()

    def folder(self, code_hash: str | None) -> Path:
        """Return the folder of an upload, or an empty one for a search without code."""
        if code_hash is None:
            empty = self.path / "empty"
            empty.mkdir(parents=True, exist_ok=True)
            return empty
        if not self.has(code_hash):
            raise UploadError(f"code: must be uploaded before the search, but got {code_hash!r}")
        return self.path / code_hash

    def store(self, code_hash: str, chunks: Iterable[bytes]) -> Path:
        """Write, verify and unpack an archive; raises UploadError and leaves nothing behind.

        `code_hash` is the SHA-256 of its bytes.
        """
        if not _HASH.fullmatch(code_hash):
            raise UploadError(f"hash: must be a SHA-256 in hex, but got {code_hash!r}")
        if self.has(code_hash):
            os.utime(self.path / code_hash)  # it is wanted again: `sweep` must not take it
            return self.path / code_hash
        self.path.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.path))
        try:
            archive = draft / "archive.zip"
            self._receive(archive, code_hash, chunks)
            self._unpack(archive, draft / "content")
            _publish(draft / "content", self.path / code_hash)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return self.path / code_hash

    def sweep(self, used: Collection[str], min_age_s: float) -> list[str]:
        """Remove the uploads that no search uses and no one asked for recently; returns them."""
        removed = []
        for folder in self.path.glob("*"):
            is_old = time.time() - folder.stat().st_mtime > min_age_s
            if _HASH.fullmatch(folder.name) and folder.name not in used and is_old:
                for place, _, _ in os.walk(folder):
                    os.chmod(place, 0o755)
                shutil.rmtree(folder)
                removed.append(folder.name)
        return removed

    def _receive(self, archive: Path, code_hash: str, chunks: Iterable[bytes]) -> None:
        digest, size = hashlib.sha256(), 0
        with archive.open("wb") as file:
            for chunk in chunks:
                size += len(chunk)
                if size > self.limits.archive:
                    rule = f"must be at most {self.limits.archive:,} bytes"
                    raise UploadError(f"upload: {rule}: name what isn't code in .gitignore")
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() != code_hash:
            raise UploadError(
                f"hash: must be that of the upload, {digest.hexdigest()}, but got {code_hash}"
            )

    def _unpack(self, archive: Path, target: Path) -> None:
        self._check_directory(archive)
        try:
            with zipfile.ZipFile(archive) as opened:
                self._check(opened, archive.stat().st_size)
                target.mkdir()
                for entry in opened.infolist():
                    _extract(opened, entry, target)
        # the second is zipfile's for a compression that it doesn't know
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
            raise UploadError(f"upload: must be a zip archive, but: {error}") from error
        except OSError as error:  # two entries in each other's way, or a name too long
            raise UploadError(f"upload: can't be unpacked: {error.strerror}") from error

    def _check_directory(self, archive: Path) -> None:
        """Refuse an archive whose directory is too large, before all of that is parsed."""
        with archive.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _ZIP64_SIZE - _END.size))
            tail = file.read()
        before, end = tail[: -_END.size], tail[-_END.size :]
        if len(end) < _END.size or not end.startswith(_END_MARK):
            raise UploadError("upload: must be a zip archive, without a comment")
        directory_size = _END.unpack(end)[5]
        max_size = self.limits.files * _MAX_BYTES_PER_FILE
        if before.startswith(_ZIP64_MARK) or directory_size > max_size:
            rule = f"must have at most {self.limits.files:,} files"
            raise UploadError(f"upload: {rule}, but its directory is of {directory_size:,} bytes")

    def _check(self, opened: zipfile.ZipFile, archive_size: int) -> None:
        """Judge an archive by its directory; what it says of sizes is enforced while unpacking."""
        entries = opened.infolist()
        if len(entries) > self.limits.files:
            rule = f"must have at most {self.limits.files:,} files"
            raise UploadError(f"upload: {rule}, but has {len(entries):,}")
        size = sum(entry.file_size for entry in entries)
        if size > min(self.limits.unpacked, self.limits.ratio * max(archive_size, 100_000)):
            raise UploadError(
                f"upload: must unpack to at most {self.limits.unpacked:,} bytes and "
                f"{self.limits.ratio} times its size, but would to {size:,} bytes"
            )
        names = [entry.filename.rstrip("/") for entry in entries]
        if len(set(names)) < len(names):
            raise UploadError("upload: file names must be unique")
        for entry in entries:
            _check_entry(entry)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    path = PurePosixPath(name)
    is_safe = name.isprintable() and "\\" not in name and not path.is_absolute()
    if not is_safe or ".." in path.parts or not path.parts or re.match(r"[A-Za-z]:", name):
        raise UploadError(f"upload: every file must lie inside the folder, but got {name!r}")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UploadError(f"upload: must hold regular files only, no links, but got {name!r}")
    if entry.flag_bits & 1:
        raise UploadError(f"upload: must not be encrypted, but {name!r} is")


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    path = target / entry.filename
    if entry.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with opened.open(entry) as source, path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise UploadError(
                    f"upload: {entry.filename!r} is larger than the archive declares"
                )
            file.write(chunk)


def _publish(content: Path, place: Path) -> None:
    """Give an upload its name; it is for reading only from then on."""
    for folder, _, files in os.walk(content, topdown=False):
        for file in files:
            os.chmod(Path(folder) / file, 0o444)
        os.chmod(folder, 0o755 if folder == str(content) else 0o555)
    try:
        content.rename(place)
    except OSError:
        if not place.is_dir():  # else another request has stored the same
            raise
    os.chmod(place, 0o555)

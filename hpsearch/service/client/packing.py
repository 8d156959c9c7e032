"""A folder of a user's code as an archive: what `submit --working-dir` sends."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pathspec

from hpsearch.errors import UploadError
from hpsearch.formatting import show_bytes

#: never code: what version control, Python and a virtual environment keep
_SKIPPED = (".git", ".hg", ".svn", "__pycache__", ".venv", ".mypy_cache", ".pytest_cache")
#: the smallest time that an archive can hold; a real one would change the hash
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SHOWN = 3


def pack_folder(folder: Path, max_bytes: int = 100_000_000) -> tuple[bytes, str]:
    """Return a zip archive of a folder and its SHA-256; the same files give the same hash.

    What a `.gitignore` names is left out, in whatever folder that lies. Raises UploadError for
    an archive over `max_bytes`, with the largest files, and for a link that leads outside.
    """
    if not folder.is_dir():
        raise UploadError(f"--working-dir: must be a folder, but got {folder}")
    files = sorted(_files(folder.resolve()))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
            if content.tell() > max_bytes:
                raise UploadError(_too_large(folder, files, max_bytes))
    if content.tell() > max_bytes:
        raise UploadError(_too_large(folder, files, max_bytes))
    packed = content.getvalue()
    return packed, hashlib.sha256(packed).hexdigest()


def _files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file's name in the archive and its path."""
    ignored: dict[Path, pathspec.GitIgnoreSpec] = {}
    for place, folders, files in os.walk(root):
        here = Path(place)
        rules = here / ".gitignore"
        if rules.is_file():
            ignored[here] = pathspec.GitIgnoreSpec.from_lines(rules.read_text().splitlines())
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED and not _is_ignored(here / name, ignored, "/")
        ]
        for name in [*files, *(name for name in folders if (here / name).is_symlink())]:
            path = here / name
            if _is_ignored(path, ignored):
                continue
            if not path.resolve().is_relative_to(root) or path.is_dir():
                raise UploadError(
                    f"--working-dir: {path} must not be a link to a folder or outside it"
                )
            if path.is_file():
                yield path.relative_to(root).as_posix(), path


def _is_ignored(path: Path, rules: dict[Path, pathspec.GitIgnoreSpec], end: str = "") -> bool:
    """Whether a file is ignored: the nearest folder above it that has a rule for it decides."""
    for folder in path.parents:
        if folder in rules:
            found = rules[folder].check_file(f"{path.relative_to(folder).as_posix()}{end}").include
            if found is not None:
                return found
    return False


def _too_large(folder: Path, files: list[tuple[str, Path]], max_bytes: int) -> str:
    largest = sorted(files, key=lambda file: -file[1].stat().st_size)[:_SHOWN]
    shown = ", ".join(f"{name} ({show_bytes(path.stat().st_size)})" for name, path in largest)
    return (
        f"--working-dir: {folder} must pack to at most {show_bytes(max_bytes)}; the largest "
        f"files are {shown}: name what isn't code in .gitignore"
    )

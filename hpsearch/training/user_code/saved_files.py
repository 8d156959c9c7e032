"""Files and folders that user code saves, as a state of plain values: their bytes by name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from hpsearch.errors import HpsearchError, UserCodeError
from hpsearch.process import when_freed

_FILES = "hpsearch.files"
_NAME = "name"


def packed(path: os.PathLike[str]) -> dict[str, Any]:
    """Return the content of a file, or of all files below a folder, with its name.

    Raises UserCodeError where there is none.
    """
    place = Path(path).absolute()
    files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    if not files:
        rule = "save_checkpoint: must be a file, or a folder that has files"
        raise UserCodeError(f"{rule}, but got {str(path)!r}")
    content = {file.relative_to(place.parent).as_posix(): file.read_bytes() for file in files}
    return {_NAME: place.name, _FILES: content}


def is_packed(state: Any) -> bool:
    """Whether a state is one that `packed` made."""
    return isinstance(state, Mapping) and state.keys() == {_NAME, _FILES}


def unpack_files(state: Mapping[str, Any], folder: Path) -> Path:
    """Write packed files into a folder; returns the file, or the folder, that was saved.

    Raises HpsearchError for names that lead out of it: a checkpoint may come from somebody else.
    """
    for name, content in state[_FILES].items():
        parts = PurePosixPath(name).parts
        if not parts or parts[0] != state[_NAME] or ".." in parts or os.path.isabs(name):
            rule = "the files of a checkpoint must lie below its folder"
            raise HpsearchError(f"{rule}, but got {name!r}")
        file = folder.joinpath(*parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder / str(state[_NAME])


def temporary_files(state: Mapping[str, Any], owner: object) -> Path:
    """Write packed files into a temporary folder, which is removed when the owner is."""
    folder = tempfile.mkdtemp(prefix="hpsearch-")
    when_freed(owner, shutil.rmtree, folder, True)
    return unpack_files(state, Path(folder))

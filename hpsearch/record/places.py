"""Where a record says that its spec's folder is: relative to the runs folder, so that both can be
moved or copied together.

Records of earlier versions have absolute paths, and the place where they began. They are read
as if they had relative ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpsearch.errors import RecordError
from hpsearch.record.storage import Place


def search_folder(place: Place, home: Path | None, attrs: Mapping[str, Any]) -> Path | None:
    """Return the folder of a record's search: `home` if it is given, else where the journal is,
    or where a record in a database says that it is, if it does."""
    if home is not None:
        return home.absolute()
    if isinstance(place, Path):
        return place.absolute().parent
    return Path(attrs["home"]) if attrs.get("home") else None


def kept_folder(folder: str, search: Path | None) -> str:
    """Return how the record of a search, in this folder, names its spec's folder."""
    absolute = Path(folder).resolve()
    return str(absolute) if search is None else os.path.relpath(absolute, _runs(search))


def found_folder(attrs: Mapping[str, Any], search: Path | None) -> str:
    """Return where the folder of a record's spec is now."""
    kept, home = attrs["folder"], attrs.get("home")
    if search is None:
        return str(kept)
    if os.path.isabs(kept) and home is not None and Path(home) != search:
        kept = os.path.relpath(kept, Path(home).parent)
    return str((_runs(search) / kept).resolve())


def check_not_shared(
    place: Place, name: str, attrs: Mapping[str, Any], search: Path | None
) -> None:
    """Raise RecordError where a record in a database is that of another folder, which is still
    there: of two copies of a search only one may write to it."""
    home = attrs.get("home")
    if isinstance(place, Path) or home is None or search is None:
        return
    if _is_same(Path(home), search):
        return
    if (Path(home) / "spec.yaml").is_file():
        rule = f"the record in the database belongs to {home}, which exists"
        raise RecordError(f"{name}: {rule}; {search} is a copy without a record of its own")


def _runs(search: Path) -> Path:
    return search.parent.resolve()


def _is_same(one: Path, other: Path) -> bool:
    return one == other or one.resolve() == other.resolve()

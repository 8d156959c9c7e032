"""Data on its way to a worker, which must have the user's code before it can unpickle it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpsearch.components import Data
from hpsearch.tuning.running_trial import import_code
from hpsearch.user_code import named_factories


class ShippedData:
    """Is unpickled as the data that it holds, once the code that its section names is imported.

    The code is in the spec's folder, and in the search's copy if it has one.
    """

    def __init__(self, data: Data | None, section: Any, folder: str, copy: str | None) -> None:
        self._data = data
        self._code = _Code(tuple(named_factories(section)), folder, copy)

    def __reduce__(self) -> tuple[Any, ...]:
        return _second, (self._code, self._data)  # pickled, and so unpickled, in this order


@dataclass(frozen=True)
class _Code:
    names: Sequence[str]
    folder: str
    copy: str | None

    def __reduce__(self) -> tuple[Any, ...]:
        return _import, (self.names, self.folder, self.copy)


def _import(names: Sequence[str], folder: str, copy: str | None) -> None:
    import_code(names, Path(folder), copy)


def _second(code: None, data: Data | None) -> Data | None:
    return data

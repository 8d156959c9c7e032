"""Modules are imported from sources that are held in memory, whatever becomes of their files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

#: sources by the real paths of their files; the newest last
_active: list[Mapping[str, bytes]] = []


class FrozenLoader(SourceFileLoader):
    """Loads a module from a source; all else of it, such as `__file__`, is that of its file."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self.source = source

    def get_data(self, path: str) -> bytes:
        """Return the source, and what other files of a package hold."""
        return self.source if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, float]:
        """Raise OSError, so that no bytecode is read, which is of the file, or written."""
        raise OSError(path)


class _Finder:
    """Finds frozen modules where they would come first on the path."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        tail = name.rpartition(".")[2]
        if not any(tail in _names(sources) for sources in _active):
            return None
        for entry in sys.path if path is None else path:
            frozen = _frozen_in(entry, name, tail)
            if frozen is not None:
                return frozen
            found = PathFinder.find_spec(name, [entry])
            if found is not None and found.loader is not None:
                return None  # another comes first
        return None


_finder = _Finder()


@contextmanager
def frozen(sources: Mapping[str, bytes]) -> Iterator[None]:
    """Import modules from sources meanwhile, which are given by the real paths of their files."""
    freeze(sources)
    try:
        yield
    finally:
        at = next(i for i, each in enumerate(_active) if each is sources)
        del _active[at]
        if not _active:
            sys.meta_path.remove(_finder)


def freeze(sources: Mapping[str, bytes]) -> None:
    """Import modules from sources from now on."""
    _active.append(sources)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def source_of(file: str | Path) -> bytes | None:
    """Return what a file is imported from, if that is frozen."""
    path = os.path.realpath(file)
    return next((each[path] for each in reversed(_active) if path in each), None)


def _frozen_in(entry: str, name: str, tail: str) -> ModuleSpec | None:
    """Return the spec of a module in a folder, if it is frozen there."""
    package = os.path.join(entry or os.getcwd(), tail)
    places = {os.path.join(package, "__init__.py"): [package], f"{package}.py": None}
    for file, inside in places.items():
        source = source_of(file)
        if source is not None:
            loader = FrozenLoader(name, file, source)
            return spec_from_file_location(
                name, file, loader=loader, submodule_search_locations=inside
            )
    return None


def _names(sources: Mapping[str, bytes]) -> Iterator[str]:
    for file in sources:
        folder, base = os.path.split(file)
        yield os.path.basename(folder) if base == "__init__.py" else base.removesuffix(".py")

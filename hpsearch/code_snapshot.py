"""The code of a search as it was when it was checked, which the driver and all workers import,
whatever becomes of its files meanwhile.

The modules keep the `__file__` of their files, so that they find what lies beside them.
"""

from __future__ import annotations

import hashlib
import json
import linecache
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType

import psutil

from hpsearch import registry
from hpsearch.errors import ScriptChangedError, UserCodeError
from hpsearch.frozen_code import FrozenLoader, freeze, frozen
from hpsearch.importing import users_modules

_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class CodeSnapshot:
    """Sources by their paths from a spec's folder; absolute paths are those outside."""

    folder: Path
    sources: Mapping[str, bytes]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """The hash of each source, by its path."""
        return {name: _hash_of(source) for name, source in sorted(self.sources.items())}

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The sources by the real paths of their files."""
        return {
            os.path.realpath(self.folder / name): source for name, source in self.sources.items()
        }

    @contextmanager
    def imported(self) -> Iterator[None]:
        """Import the modules from these sources meanwhile.

        Those that this process may have imported from others are put aside, and put back
        afterwards: whoever calls may hold what is in them.
        """
        put_back = self._put_aside(self._stale_modules())
        try:
            with frozen(self.files):
                yield
        finally:
            put_back()

    def use(self) -> None:
        """Import the modules from these sources for the rest of this process, a worker's."""
        for name in self._stale_modules():
            del sys.modules[name]
        freeze(self.files)
        for file, source in self.files.items():  # tracebacks show the lines that ran
            lines = source.decode(errors="replace").splitlines(keepends=True)
            linecache.cache[file] = (len(source), None, lines, file)

    def changed_files(self) -> list[str]:
        """Return the files that hold something else by now, or are gone."""
        return [
            name for name, source in self.sources.items() if _content(self.folder / name) != source
        ]

    def write(self, place: Path) -> None:
        """Keep the sources in a folder, with their hashes; doing it twice changes nothing."""
        if place.is_dir():
            return
        draft = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
        for name, source in self.sources.items():
            file = draft / _kept_at(name, self.sources)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source)
        kept_folder_of_code(draft, self.hashes).mkdir(parents=True, exist_ok=True)
        (draft / _MANIFEST).write_text(json.dumps(self.hashes, indent=2))
        try:
            draft.rename(place)
        except OSError:  # another driver was quicker
            shutil.rmtree(draft, ignore_errors=True)

    def _stale_modules(self) -> dict[str, ModuleType]:
        """Return the loaded modules of these files if one of them may be of another source."""
        loaded = {
            name: (module, source)
            for name, module, file in users_modules()
            if (source := self.files.get(os.path.realpath(file))) is not None
        }
        if not any(_is_stale(module, source) for module, source in loaded.values()):
            return {}
        return {name: module for name, (module, _) in loaded.items()}

    def _put_aside(self, modules: Mapping[str, ModuleType]) -> Callable[[], None]:
        """Forget modules, and what they have registered; returns what puts them back."""
        if not modules:
            return lambda: None
        restore_components = registry.put_aside(set(modules))
        for name in modules:
            del sys.modules[name]

        def put_back() -> None:
            mine = [n for n, _, file in users_modules() if os.path.realpath(file) in self.files]
            for name in mine:
                del sys.modules[name]
            sys.modules.update(modules)
            for name, module in modules.items():
                parent, _, tail = name.rpartition(".")
                if parent in sys.modules:
                    setattr(sys.modules[parent], tail, module)
            restore_components()

        return put_back


@lru_cache(maxsize=4)
def read_snapshot(place: Path, folder: Path) -> CodeSnapshot:
    """Read what `write` has kept of the code in a folder; UserCodeError where it is gone or was
    changed."""
    try:
        hashes: dict[str, str] = json.loads((place / _MANIFEST).read_text())
        sources = {name: (place / _kept_at(name, hashes)).read_bytes() for name in hashes}
    except (OSError, ValueError, LookupError) as error:
        rule = "the search's copy of its code can't be read"
        raise UserCodeError(f"{place}: {rule} ({type(error).__name__}: {error})") from error
    snapshot = CodeSnapshot(folder, sources)
    changed = [name for name, value in snapshot.hashes.items() if value != hashes[name]]
    if changed:
        rule = "the search's copy of its code is not what was checked"
        raise UserCodeError(f"{place}: {rule}: {', '.join(changed)}")
    return snapshot


def check_unchanged(place: str | Path | None, folder: str | Path) -> None:
    """Raise ScriptChangedError where files of a command are not as they were checked."""
    changed = [] if place is None else read_snapshot(Path(place), Path(folder)).changed_files()
    if changed:
        what = f"command: {', '.join(changed)} changed while the search runs"
        advice = "put it back and `hpsearch resume NAME`, or accept it with --changed-code"
        raise ScriptChangedError(f"{what}; {advice}")


_used: list[Path] = []


def use_snapshot(place: str | Path | None, folder: str | Path) -> None:
    """Import the code in a spec's folder from a search's copy for the rest of this process, if
    there is one."""
    if place is not None and Path(place) not in _used:
        read_snapshot(Path(place), Path(folder)).use()
        _used.append(Path(place))


def snapshot_name(hashes: Mapping[str, str]) -> str:
    """Return the name of the folder of sources with these hashes."""
    return hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:16]


def kept_folder_of_code(place: Path, hashes: Mapping[str, str]) -> Path:
    """Return where, in the folder of a copy, the spec's folder is."""
    return place / "files" / Path(*["_"] * _depth(hashes))


def _kept_at(name: str, names: Mapping[str, object]) -> Path:
    """Return where a source lies in the folder of a copy."""
    if os.path.isabs(name):
        return Path("absolute", hashlib.sha256(name.encode()).hexdigest()[:16], Path(name).name)
    return Path(os.path.normpath(kept_folder_of_code(Path(), dict.fromkeys(names, "")) / name))


def _depth(names: Mapping[str, object]) -> int:
    """Return how many folders above the spec's the highest source is."""
    relative = (Path(name).parts for name in names if not os.path.isabs(name))
    return max((parts.count("..") for parts in relative), default=0)


def _is_stale(module: ModuleType, source: bytes) -> bool:
    """Whether a module may have been made of another source than this.

    Of one that others imported only the time of its file tells: none is newer than this process.
    """
    loader = getattr(module.__spec__, "loader", None)
    if isinstance(loader, FrozenLoader):
        return loader.source != source
    try:
        found = os.stat(str(module.__file__))
    except OSError:
        return True
    return max(found.st_mtime, found.st_ctime) > _process_start()


@lru_cache(maxsize=1)
def _process_start() -> float:
    return psutil.Process().create_time() - 1.0  # it is rounded


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _hash_of(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()

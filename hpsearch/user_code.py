"""A user's code that a spec names: which files it is, and whether they are as they were.

These are the files that the spec names, and all that they import which lies beside them or below
the spec's folder. They are found by reading, without importing anything; only `loaded_modules`
looks at what this process has imported.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hpsearch.code_snapshot import CodeSnapshot
from hpsearch.importing import is_users_file, users_modules
from hpsearch.registry import is_user_code
from hpsearch.spec import SearchSpec, TrialConfig


def code_hashes(spec: SearchSpec) -> dict[str, str]:
    """Return the hash of each file of a spec's code, by its path from the spec's folder.

    Files that are named by an absolute path, and what is beside them, keep theirs.
    """
    return take_snapshot(spec).hashes


def take_snapshot(spec: SearchSpec) -> CodeSnapshot:
    """Read the files of a spec's code; see `code_hashes`."""
    return _snapshot(_named_modules(spec), Path(spec.folder))


def draft_snapshot(raw: Mapping[str, Any], folder: Path) -> CodeSnapshot:
    """Read the files that a spec which may be wrong would import."""
    return _snapshot(set(_modules(raw)), folder)


def _snapshot(modules: Collection[str], folder: Path) -> CodeSnapshot:
    fixed = {Path(module).parent for module in modules if os.path.isabs(module)}
    sources = {}
    for path in _all_files(modules, folder):
        is_fixed = any(path.is_relative_to(place) for place in fixed)
        is_below = path.is_relative_to(folder)
        name = str(path) if is_fixed and not is_below else os.path.relpath(path, folder)
        if (source := _read(path)) is not None:  # else its import will tell
            sources[name] = source
    return CodeSnapshot(folder, dict(sorted(sources.items())))


def missing_files(spec: SearchSpec) -> list[str]:
    """Return the files that a spec names and that aren't there, as it names them."""
    folder = Path(spec.folder)
    modules = {module for module in _named_modules(spec) if module.endswith(".py")}
    return sorted(module for module in modules if not (folder / module).is_file())


def scripts(words: Sequence[str]) -> list[str]:
    """Return the scripts and modules that a command line runs, as far as it shows.

    >>> scripts(["torchrun", "--nproc-per-node", "2", "train.py", "--lr", "{lr}"])
    ['train.py']
    >>> scripts(["python", "-m", "package.train"])
    ['package.train']
    """
    files = [word for word in words if word.endswith(".py") and "{" not in word]
    modules = [name for flag, name in pairwise(words) if flag == "-m"]
    return [*files[:1], *modules]


def loaded_modules(spec: SearchSpec) -> dict[str, Path]:
    """Return the files of all modules of the user's that this process has imported, by name.

    They are beside the files that the spec names, or below its folder; none if it names no code.
    """
    named = named_factories(spec.to_dict())
    if not named:
        return {}
    folder = Path(spec.folder).resolve()
    files = [module for module in _modules(named) if module.endswith(".py")]
    roots = {folder, *((folder / file).resolve().parent for file in files)}
    found = {}
    for name, _, file in users_modules():
        if file.is_file() and any(file.resolve().is_relative_to(root) for root in roots):
            found[name] = file
    return found


def trial_factories(trial: TrialConfig) -> list[str]:
    """Return what names code of the user's in a trial's configuration."""
    return named_factories([trial.trainable] if trial.trainable else trial.values)


def named_factories(value: Any) -> list[str]:
    """Return what names code of the user's anywhere in a spec or a section."""
    return [name for name in _factories(value) if is_user_code(name)]


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Say which files differ.

    >>> changes({"a.py": "1", "b.py": "1"}, {"a.py": "2", "c.py": "1"})
    ['a.py (changed)', 'b.py (gone)', 'c.py (new)']
    """
    found = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            kind = "new" if name not in before else "gone" if name not in now else "changed"
            found.append(f"{name} ({kind})")
    return found


def _all_files(modules: Iterable[str], folder: Path) -> set[Path]:
    """Return the files of modules that a spec in a folder names, and all that these import."""
    files = [_normal(folder / module) for module in modules if module.endswith(".py")]
    roots = [*dict.fromkeys(path.parent for path in files), folder]
    waiting = [path for path in files if path.is_file()]
    for module in modules:
        if not module.endswith(".py"):
            waiting += _module_files(module, roots)
    found: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in found and is_users_file(str(path)):
            found.add(path)
            waiting += _imported(path, roots)
    return found


def _named_modules(spec: SearchSpec) -> set[str]:
    return {*_modules(spec.to_dict()), *(scripts(spec.command.run) if spec.command else ())}


def _modules(value: Any) -> Iterator[str]:
    """Yield what may be modules in `module:factory` and `file.py:factory` anywhere in a spec."""
    for name in _factories(value):
        yield name.rpartition(":")[0]


def _factories(value: Any, parents: tuple[int, ...] = ()) -> Iterator[str]:
    """Yield what may be `module:factory` or `file.py:factory`; YAML may hold what holds itself."""
    if id(value) in parents:
        return
    if isinstance(value, Mapping | list | tuple):
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from _factories(child, (*parents, id(value)))
    elif isinstance(value, str):
        module, _, factory = value.rpartition(":")
        is_dotted = all(map(str.isidentifier, module.split(".")))
        if factory.isidentifier() and (is_dotted or module.endswith(".py")):
            yield value


def _imported(path: Path, roots: Sequence[Path]) -> Iterator[Path]:
    """Yield the files below the roots that a file imports, wherever in it."""
    try:
        tree = ast.parse(_read(path) or b"")
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # it can't be imported either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module_files(alias.name, roots)
        elif isinstance(node, ast.ImportFrom):
            places = path.parents[node.level - 1 : node.level] if node.level else roots
            for alias in node.names:
                parts = [part for part in (node.module, alias.name) if part]
                yield from _module_files(".".join(parts), places)


def _module_files(module: str, roots: Sequence[Path]) -> list[Path]:
    """Return the files that an import of a dotted name runs, below the first root that has any.

    Its last part may be a name in a module instead.
    """
    parts = module.split(".")
    for root in roots:
        places = []
        for depth in range(1, len(parts) + 1):
            path = root.joinpath(*parts[:depth])
            places += [path / "__init__.py", path.with_name(f"{path.name}.py")]
        found = [_normal(place) for place in places if place.is_file()]
        if found:
            return found
    return []


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None

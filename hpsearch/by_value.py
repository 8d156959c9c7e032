"""Functions and classes of a notebook or a script, as code that a spec can name.

They are pickled by value (cloudpickle), with all modules of the user's that they use, into a
folder of the runs folder, beside a module that loads them and their source. A search that is
resumed, and its workers, find them there: nothing needs to be in a file.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from hpsearch.errors import Problem, SpecError
from hpsearch.importing import users_modules
from hpsearch.spec.trees import mapped

#: of the runs folder; no search may have such a name
FOLDER = ".code"
_MODULE = '''"""Code of a search, pickled when it was made; see source.txt beside this."""

import pathlib

import cloudpickle

globals().update(cloudpickle.loads(pathlib.Path(__file__).with_suffix(".pkl").read_bytes()))
'''


def with_named_code(raw: Any, runs: Path, folder: Path) -> Any:
    """Return a spec's plain values with a name for each function and class in them.

    The names are relative to `folder`. Raises SpecError for one that can't be pickled.
    """
    code = _named(_callables(raw))
    if not code:
        return raw
    module = os.path.relpath(_write(code, runs), folder)
    names = {id(each): f"{module}:{name}" for name, each in code.items()}
    return mapped(raw, lambda value: names[id(value)] if callable(value) else value)


def _named(found: Iterable[Any]) -> dict[str, Any]:
    """Return functions and classes by name; others of the same name get a number."""
    code: dict[str, Any] = {}
    for each in {id(each): each for each in found}.values():
        stem = _name_of(each)
        names = itertools.chain([stem], (f"{stem}_{i}" for i in itertools.count(2)))
        code[next(name for name in names if name not in code)] = each
    return code


def _write(code: Mapping[str, Any], runs: Path) -> Path:
    """Write the module of some functions and classes; returns its file."""
    with _by_value(_users_modules()):
        try:
            pickled = cloudpickle.dumps(dict(code))
        except Exception as error:  # what they refer to may raise anything
            rule = f"must be picklable ({type(error).__name__}: {error})"
            raise SpecError([Problem(", ".join(code), rule)]) from error
    stem = f"code_{hashlib.sha256(pickled).hexdigest()[:16]}"
    place = runs / FOLDER / stem
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{stem}.pkl").write_bytes(pickled)
    (place / "source.txt").write_text("\n\n".join(map(_source, code.values())))
    module = place / f"{stem}.py"
    module.write_text(_MODULE)
    return module


def _callables(raw: Any) -> list[Any]:
    found: list[Any] = []
    mapped(raw, lambda value: found.append(value) if callable(value) else None)
    return found


def _name_of(code: Any) -> str:
    name = getattr(code, "__name__", None) or type(code).__name__
    return name if name.isidentifier() else "function"  # a lambda


@contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _users_modules() -> list[ModuleType]:
    """Return the modules that a worker can't import: not Python's, no package's, not ours."""
    return [module for name, module, _ in users_modules() if module.__name__ == name]


def _source(code: Any) -> str:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):  # typed into an interpreter
        return f"# {_name_of(code)}: its source is not known"

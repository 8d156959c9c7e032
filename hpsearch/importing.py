"""Users' modules: imported and called as if Python had been started on their file.

They find the spec's folder as the working directory and only their file in `sys.argv`. One that
ends the program instead, as scripts do, raises UserCodeError.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hpsearch.errors import PluginError, UserCodeError
from hpsearch.frozen_code import FrozenLoader, source_of
from hpsearch.process import PACKAGE_FOLDERS

#: what a name such as `os:system` is told
NOT_PYTHONS_OWN = "must be your own code or a package's, not Python's standard library"
ENTRY_POINT_GROUP = "hpsearch.components"
_MAIN = (
    "workers have another __main__: name the file, such as train.py:train, or pass the function "
    "itself to hpsearch.search"
)
_SCRIPT_HINT = (
    "a module must only define things when it is imported: put the rest below "
    '`if __name__ == "__main__":`, or run the script as it is with `command:`'
)


def import_factory(name: str, folder: Path | None = None) -> Callable[..., Any]:
    """Import `package.module:factory` or `path/to/file.py:factory`.

    The spec's folder (and a file's own) is put on `sys.path`, so that modules beside it can be
    imported, and instances can be unpickled by module name later.
    """
    module_name, _, attribute = name.rpartition(":")
    if module_name == "__main__":
        raise UserCodeError(f"{name}: {_MAIN}")
    if module_name.partition(".")[0] in sys.stdlib_module_names and module_name[-3:] != ".py":
        raise UserCodeError(f"{name}: {NOT_PYTHONS_OWN}")
    _fix_relative_path()
    if folder is not None:
        _put_on_path(folder)
    try:
        with as_program(module_name, folder):
            factory = getattr(_import_module(module_name, folder), attribute)
    except SystemExit as error:
        raise UserCodeError(
            f"{name}: can't be imported: {exit_reason(error)}; {_SCRIPT_HINT}"
        ) from error
    except Exception as error:  # user code may raise anything while it is imported
        why = f"{type(error).__name__}: {error}{_relative_import_hint(error, name, folder)}"
        raise UserCodeError(f"{name}: can't be imported: {why}") from error
    if not callable(factory):
        raise UserCodeError(f"{name}: must be callable, but got {factory!r}")
    return factory  # type: ignore[no-any-return]  # callable() narrows Any to nothing better


@contextmanager
def as_program(module_name: str, folder: Path | None) -> Iterator[None]:
    """Have the working directory and the `sys.argv` of a program that is this module."""
    arguments, sys.argv = sys.argv, program_arguments(module_name, folder)
    try:
        with working_directory(folder):
            yield
    finally:
        sys.argv = arguments


@contextmanager
def called_as_program(name: str, folder: Path | None) -> Iterator[None]:
    """Call the factory of `module:factory` as such; UserCodeError where it ends the program."""
    try:
        with as_program(name.rpartition(":")[0], folder):
            yield
    except SystemExit as error:
        raise UserCodeError(f"{name}: {exit_reason(error)}") from error


@contextmanager
def outliving_exits() -> Iterator[None]:
    """Run what calls users' code; UserCodeError where that ends the program."""
    try:
        yield
    except SystemExit as error:
        raise UserCodeError(exit_reason(error)) from error


def program_arguments(module_name: str, folder: Path | None) -> list[str]:
    """Return the `sys.argv` of a module or file: its file alone."""
    if module_name.endswith(".py"):
        return [str(((folder or Path()) / module_name).absolute())]
    return [getattr(sys.modules.get(module_name), "__file__", None) or module_name]


def import_ahead(names: Iterable[str], folder: Path) -> None:
    """Import what `module:factory` names stand for, as far as that works.

    What they set as they are imported then belongs to the process, and not to a trial.
    """
    for name in names:
        with suppress(UserCodeError):  # raised again where it is wanted
            import_factory(name, folder)


def exit_reason(error: SystemExit) -> str:
    """Say which line ended the program, and what it said.

    >>> exit_reason(SystemExit("no data"))
    "ended the program by SystemExit('no data')"
    """
    how = f"by SystemExit({'' if error.code is None else repr(error.code)})"
    steps = list(traceback.walk_tb(error.__traceback__))
    places = [(frame.f_code.co_filename, line) for frame, line in steps]
    file, line = next((each for each in reversed(places) if is_users_file(each[0])), ("", 0))
    at = f"line {line} of {file} " if file else ""
    said = [frame.f_locals.get("message") for frame, _ in steps if _is_argparse(frame)]
    return f"{at}ended the program {how}" + (f": {said[-1]}" if said else "")


@contextmanager
def working_directory(folder: Path | None) -> Iterator[None]:
    """Have a folder as this process' working directory meanwhile, if it can be entered."""
    before = None
    with suppress(OSError):  # either may have been removed
        before = os.getcwd()
        os.chdir(folder or before)
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):
                os.chdir(before)


def is_users_file(file: str) -> bool:
    """Whether a file of code is neither Python's, an installed package's nor ours."""
    is_package = not PACKAGE_FOLDERS.isdisjoint(file.split(os.sep))
    return not is_package and not file.startswith(("<frozen ", *_foreign_folders()))


@cache
def _foreign_folders() -> tuple[str, ...]:
    """Return Python's folder and ours; a check asks for each of a process' 2,000 modules."""
    folders = sysconfig.get_path("stdlib"), os.path.dirname(__file__)
    return tuple(os.path.join(folder, "") for folder in folders)


def users_modules() -> Iterator[tuple[str, ModuleType, Path]]:
    """Yield the modules of the user's that this process has imported: name, module, file."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_main = name in ("__main__", "__mp_main__")
        # what isn't a file has another path there, such as torch.ops
        if not is_main and file and os.path.isabs(file) and is_users_file(file):
            yield name, module, Path(file)


def _is_argparse(frame: Any) -> bool:
    is_error = frame.f_code.co_name == "error"
    return is_error and bool(frame.f_globals.get("__name__") == "argparse")


def _relative_import_hint(error: Exception, name: str, folder: Path | None) -> str:
    """Say by which name a file works that imports relative to its package."""
    file, _, attribute = name.rpartition(":")
    if not (isinstance(error, ImportError) and "no known parent package" in str(error)):
        return ""
    parts = Path(os.path.normpath(file)).with_suffix("").parts
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return f"; name it {'.'.join(parts)}:{attribute}, as a module of a package"
    stem = Path(file).stem
    package = (folder or Path()).resolve().name
    return (
        f"; relative imports work in a package only: name it PACKAGE.{stem}:{attribute} from the "
        f"folder that holds the package (perhaps {package}.{stem}:{attribute}, with the spec in "
        "the folder above), or import modules beside the file by their bare names"
    )


def _import_module(name: str, folder: Path | None) -> Any:
    if name.endswith(".py"):
        return _import_file((folder or Path()) / name)
    return importlib.import_module(name)


def _import_file(path: Path) -> Any:
    path = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        _put_on_path(path.parent)  # where it imports more later
        return loaded
    source = source_of(path)
    if source is None and not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if loaded is not None:
        raise ImportError(f"a module {path.stem!r} is loaded already: rename {path.name}")
    if _is_installed(path.stem, but_for=path):
        rule = f"an installed module is named {path.stem!r}, and workers may have loaded it"
        raise ImportError(f"{rule}: rename {path.name}")
    loader = None if source is None else FrozenLoader(path.stem, str(path), source)
    spec = importlib.util.spec_from_file_location(path.stem, path, loader=loader)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    _put_on_path(path.parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _is_installed(name: str, but_for: Path) -> bool:
    """Whether Python or an installed package has a module of this name, other than that file."""
    if name in sys.stdlib_module_names:
        return True
    folders = [place for place in sys.path if Path(place).name in PACKAGE_FOLDERS]
    found = importlib.machinery.PathFinder.find_spec(name, folders)
    return found is not None and found.origin != str(but_for)


def _fix_relative_path() -> None:
    """Find what lies in the caller's folder, as notebooks do, from another folder too."""
    if "" in sys.path and (here := os.getcwd()) not in sys.path:
        sys.path.insert(sys.path.index("") + 1, here)


def _put_on_path(folder: Path) -> None:
    entry = str(folder.resolve())
    if entry not in sys.path:
        sys.path.insert(0, entry)


_plugins_lock = threading.RLock()
_plugins_loaded = False
_plugin_error = ""


def load_plugins() -> None:
    """Import the modules that installed packages offer as entry points, once; they register what
    they have. Raises PluginError, each time, where one can't be imported."""
    global _plugins_loaded, _plugin_error
    with _plugins_lock:
        if not _plugins_loaded:
            _plugins_loaded = True  # a module that is imported here may ask for names itself
            _plugin_error = _import_plugins()
    if _plugin_error:
        raise PluginError(_plugin_error)


def _import_plugins() -> str:
    """Return what is wrong with the first entry point that can't be imported; empty if none."""
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            entry_point.load()
        except Exception as error:  # a package may raise anything while it is imported
            package = entry_point.dist
            whose = f"package {package.name} {package.version}" if package else "a package"
            what = f"{ENTRY_POINT_GROUP}: {entry_point.name} = {entry_point.value}"
            reason = f"{type(error).__name__}: {error}"
            rule = f"its entry point ({what}) can't be imported ({reason})"
            return f"{whose}: {rule}; repair or uninstall it"
    return ""

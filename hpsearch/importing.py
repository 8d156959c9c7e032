"""Importing what isn't hpsearch's: the factories that a spec names by module or file, and the
modules that installed packages offer as entry points.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpsearch.errors import PluginError, UserCodeError
from hpsearch.process import PACKAGE_FOLDERS

#: what a name such as `os:system` is told
NOT_PYTHONS_OWN = "must be code of yours or of a package, not of Python's own library"
ENTRY_POINT_GROUP = "hpsearch.components"


def import_factory(name: str, folder: Path | None = None) -> Callable[..., Any]:
    """Import `package.module:factory` or `path/to/file.py:factory`.

    The spec's folder (and a file's own) is put on `sys.path`, so that modules beside it can be
    imported, and instances can be unpickled by module name later.
    """
    module_name, _, attribute = name.rpartition(":")
    if module_name.partition(".")[0] in sys.stdlib_module_names and module_name[-3:] != ".py":
        raise UserCodeError(f"{name}: {NOT_PYTHONS_OWN}")
    if folder is not None:
        _put_on_path(folder)
    try:
        module = (
            _import_file((folder or Path()) / module_name)
            if module_name.endswith(".py")
            else importlib.import_module(module_name)
        )
        factory = getattr(module, attribute)
    except Exception as error:  # user code may raise anything while it is imported
        raise UserCodeError(
            f"{name}: can't be imported: {type(error).__name__}: {error}"
        ) from error
    if not callable(factory):
        raise UserCodeError(f"{name}: must be callable, but got {factory!r}")
    return factory  # type: ignore[no-any-return]  # callable() narrows Any to nothing better


def user_files(name: str, folder: str | Path) -> list[Path]:
    """Return the file that holds the user's code of this name; none for a module's."""
    module_name = name.rpartition(":")[0]
    return [Path(folder) / module_name] if module_name.endswith(".py") else []


def _import_file(path: Path) -> Any:
    path = path.resolve()
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if loaded is not None:
        raise ImportError(f"a module {path.stem!r} is loaded already: rename {path.name}")
    if _is_installed(path.stem, but_for=path):
        rule = f"an installed module is named {path.stem!r}, and workers may have loaded it"
        raise ImportError(f"{rule}: rename {path.name}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
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

"""Packages that only some components need."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hpsearch.errors import BadConfigurationError, DataError


def optional_package(
    module: str, user: str, command: str, error: type[BadConfigurationError] | type[DataError]
) -> Any:
    """Import a module; where it is missing, the error says who needs it and how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as missing:
        package = module.partition(".")[0].replace("_", "-")
        raise error(f"{user} needs the package {package}: `{command}`") from missing


def installed_path(module: str, path: str) -> Path | None:
    """Return a file or folder in an installed package, which isn't imported; None without it."""
    package = importlib.util.find_spec(module)
    folders = (package and package.submodule_search_locations) or ()
    return next((found for each in folders if (found := Path(each, path)).exists()), None)

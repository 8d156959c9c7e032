"""Has `--help` of an argparse parser write its options as JSON, exactly, and end the script."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

TARGET = "HPSEARCH_OPTIONS"


def _write_options(parser: argparse.ArgumentParser, file: Any = None) -> None:
    found = [
        {
            "names": action.option_strings,
            "dest": action.dest,
            "type": getattr(action.type, "__name__", None),
            "default": _plain(action.default),
            "choices": [_plain(each) for each in action.choices] if action.choices else None,
            "is_flag": action.nargs == 0,
            "is_required": action.required,
        }
        for action in parser._actions
        if action.dest != "help"
    ]
    with open(os.environ[TARGET], "w") as target:
        json.dump(found, target)
    sys.exit(0)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


argparse.ArgumentParser.print_help = _write_options  # type: ignore[method-assign, assignment]

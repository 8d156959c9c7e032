"""The command line: options in, text out; what a command does is done by the packages below.

A command is a function in the module of its kind, and works on folders and services alike through
`searches.Searches`. Slow imports go inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from typing import NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

from hpsearch.cli import (  # noqa: F401 (their commands)
    acts,
    advise,
    job,
    learning_curve,
    lifecycle,
    maintenance,
    mcp,
    scripts,
    show,
    simulate,
    specs,
    study,
    team,
)
from hpsearch.cli.common import app
from hpsearch.cli.panels import arrange
from hpsearch.cli.plain import plain_error, wants_json
from hpsearch.errors import HpsearchError, SearchFailedError
from hpsearch.home import home_settings

__all__ = ["app", "main"]
#: objects made between two collections: imports make many and leave hardly any garbage
GC_THRESHOLD = 100_000
arrange(app)


def main() -> None:
    """Run the command line; errors that a user can mend are printed without a traceback."""
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)  # else Python's end looks for garbage in all that was imported
    try:
        os.environ.update(home_settings())  # of this process, and of those that it starts
        # which leaves the words of errors to us, and is called so however it was started
        status = app(standalone_mode=False, prog_name="hpsearch")
    except TyperException as error:
        if not str(error):  # the help has been printed in place of a command
            raise SystemExit(2) from None
        from hpsearch.cli.usage import usage_error

        _fail(usage_error(error), status=2)
    except typer.Abort:
        _fail(HpsearchError("aborted"), status=1)
    except SearchFailedError as error:
        _fail(error, status=1)
    except HpsearchError as error:
        _fail(error, status=2)
    raise SystemExit(status or 0)


def _fail(error: Exception, status: int) -> NoReturn:
    if wants_json():
        print(json.dumps(plain_error(error), indent=2, default=repr), file=sys.stderr)
    else:
        Console(stderr=True, emoji=False).print(
            f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True
        )
    raise SystemExit(status)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)

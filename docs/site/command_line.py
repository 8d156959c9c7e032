"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main
from typer.core import TyperCommand, TyperGroup

from docs.site.markdown import Page, code, escape, table
from hpsearch.cli import app

_HEAD = """\
# Command line

`hpsearch COMMAND --help` prints the same. Commands end with status 0; with 1 where a search failed
or has no best trial, with 2 for a mistake of the user's, with 130 after Ctrl-C.
"""


def pages() -> Iterator[Page]:
    """Yield the reference."""
    group = _group()
    parts = [_HEAD, _parameters(group)]
    parts += [_command(name, command) for name, command in commands(group)]
    yield Page("reference/command-line.md", "\n".join(parts))


def commands(group: TyperGroup | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the commands with their names, such as `token create`."""
    for name, command in (group or _group()).commands.items():
        if command.hidden:
            continue
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _group() -> TyperGroup:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)  # as it has several commands
    return group


def _command(name: str, command: TyperCommand) -> str:
    usage = " ".join(["hpsearch", name, *command.collect_usage_pieces(typer.Context(command))])
    text = escape(command.help or "")
    return f"## {name}\n\n```\n{usage}\n```\n\n{text}\n\n{_parameters(command)}"


def _parameters(command: TyperCommand | TyperGroup) -> str:
    context = typer.Context(command)
    shown = [each for each in command.params if each.name != "help"]
    records = [each.get_help_record(context) for each in shown]
    rows = [[code(name), escape(meaning)] for name, meaning in filter(None, records)]
    return table(["argument", "meaning"], rows) if rows else ""

"""Under which title, and in which order, `hpsearch --help` lists the commands."""

from __future__ import annotations

import typer
from typer.main import get_command_name
from typer.models import CommandInfo, TyperInfo

PANELS = {
    "Before a search": (
        *("init", "validate", "data", "diagnose", "lr-range", "components", "schema"),
    ),
    "Search": (
        *(
            "run",
            "submit",
            "resume",
            "extend",
            "repeat",
            "study",
            "pause",
            "stop",
            "narrow",
            "trial",
        ),
    ),
    "Look at it": (
        *("list", "status", "logs", "report", "best", "explain", "compare", "acts", "ui"),
    ),
    "Use what it found": ("next", "learning-curve", "simulate", "download", "export"),
    "Keep its files in order": ("check", "sync", "gc", "delete"),
    "Teams and agents": ("serve", "login", "logout", "quota", "token", "mcp"),
}


def arrange(app: typer.Typer) -> None:
    """Put the commands of an application into their panels; hidden ones have none."""
    places = {name: panel for panel, names in PANELS.items() for name in names}
    order = list(places)
    infos: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    for info in infos:
        if not info.hidden:
            info.rich_help_panel = places[_name(info)]
    app.registered_commands.sort(key=lambda info: _rank(order, info))
    app.registered_groups.sort(key=lambda info: _rank(order, info))


def _rank(order: list[str], info: CommandInfo | TyperInfo) -> int:
    return len(order) if info.hidden else order.index(_name(info))


def _name(info: CommandInfo | TyperInfo) -> str:
    callback = info.callback
    return info.name or (get_command_name(callback.__name__) if callback else "")

"""The programs that containers run: do they have the options that they are called with?"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import ray.scripts.scripts
import typer.main

from hpsearch.cli import app
from hpsearch.tracking.server import VARIABLE

with warnings.catch_warnings():  # of things that we don't use
    warnings.simplefilter("ignore")
    import mlflow.cli

DEPLOY = Path(__file__).resolve().parents[1]
LOCK = DEPLOY.parent / "requirements.lock"


def locked_version(package: str) -> str:
    """Return a package's version in requirements.lock."""
    found = re.search(rf"^{re.escape(package)}==(\S+)$", LOCK.read_text(), re.MULTILINE)
    assert found is not None, package
    return found[1]


def unknown_options(command: list[str]) -> list[str]:
    """Return the options of a command that its program doesn't have."""
    program, *arguments = command
    if program not in _PROGRAMS:
        return []
    node: click.Command = _PROGRAMS[program]
    while arguments and arguments[0] in _commands(node):
        node = _commands(node)[arguments.pop(0)]
    known = {option for each in node.params for option in (*each.opts, *each.secondary_opts)}
    given = [each.partition("=")[0] for each in arguments if each.startswith("-")]
    return [f"{program}: has no option {each}" for each in given if each not in known]


def unknown_variables(names: set[str]) -> list[str]:
    """Return those of our variables that neither the service nor its start script reads."""
    read = {*_variables(_PROGRAMS["hpsearch"]), VARIABLE}
    given = re.search(r"for name in (.*); do", (DEPLOY / "entrypoint.sh").read_text())
    assert given is not None
    from_files = {f"{name}_FILE" for name in given[1].split()}
    problems = [
        f"{each}: entrypoint.sh does not read it"
        for each in names - from_files - read
        if each.endswith("_FILE") and not each.startswith("POSTGRES_")
    ]
    ours = {each for each in names - read if each.startswith("HPSEARCH_")}
    return problems + [
        f"{each}: hpsearch does not read it"
        for each in ours
        if each.removesuffix("_FILE") not in read | {"HPSEARCH_DOMAIN"}
    ]


def _variables(node: click.Command) -> Iterator[str]:
    for parameter in node.params:
        names = parameter.envvar or ()
        yield from [names] if isinstance(names, str) else names
    for child in _commands(node).values():
        yield from _variables(child)


def _commands(node: click.Command) -> dict[str, click.Command]:
    """Return the commands of a group; typer brings a click of its own."""
    return getattr(node, "commands", {})


_PROGRAMS: dict[str, click.Command] = {
    "hpsearch": typer.main.get_command(app),
    "mlflow": mlflow.cli.cli,
    "ray": ray.scripts.scripts.cli,
}

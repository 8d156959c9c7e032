"""The options of a script's parser of argparse, read from its file.

The script isn't run. Its file is judged only where it makes one parser that nothing else can add
options to.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_PARSER = "ArgumentParser"
#: what makes something that has `add_argument`
_MAKERS = (_PARSER, "add_argument_group", "add_mutually_exclusive_group")
#: actions of options that aren't flags
_TAKE_A_VALUE = ("store", "append", "extend")


@dataclass(frozen=True)
class Option:
    """What an option takes, as far as its `add_argument` says so in constants."""

    is_flag: bool = False
    #: several words, or none, or as many as a class of the script's says
    has_nargs: bool = False
    type: type | None = None
    choices: tuple[Any, ...] | None = None


def read_options(tree: ast.Module) -> dict[str, Option] | None:
    """Return the long options of a script's only parser; None where there may be more."""
    nodes = list(ast.walk(tree))
    calls = [(node, _name(node)) for node in nodes if isinstance(node, ast.Call)]
    made = [call for call, name in calls if name in _MAKERS]
    called = [name for _, name in calls]
    if called.count(_PARSER) != 1 or {"parse_known_args", "add_subparsers"} & set(called):
        return None
    if not _is_of_argparse(nodes) or not _stay_here(nodes, made):
        return None
    found = {"--help": Option(is_flag=True)}
    for call, name in calls:
        if name == _PARSER and any(each.arg in ("parents", None) for each in call.keywords):
            return None
        if name == "add_argument":
            words = [each.value for each in call.args if isinstance(each, ast.Constant)]
            if len(words) < len(call.args):
                return None
            option, long = _option(call), [word for word in map(str, words) if word[:2] == "--"]
            found |= dict.fromkeys(long, option)
            if "BooleanOptionalAction" in ast.unparse(call):
                found |= dict.fromkeys(
                    (f"--no-{word.removeprefix('--')}" for word in long), option
                )
    return found


def _option(call: ast.Call) -> Option:
    values = {str(each.arg): each.value for each in call.keywords}
    action = values.get("action", ast.Constant("store"))
    is_boolean = "BooleanOptionalAction" in ast.unparse(action)
    name = action.value if isinstance(action, ast.Constant) else None
    choices = None
    with suppress(KeyError, ValueError):  # none, or not written as constants
        choices = tuple(ast.literal_eval(values["choices"]))
    return Option(
        is_flag=is_boolean or (name is not None and name not in _TAKE_A_VALUE),
        has_nargs="nargs" in values or (name is None and not is_boolean),
        type={"int": int, "float": float}.get(ast.unparse(values.get("type", action))),
        choices=choices,
    )


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_of_argparse(nodes: Collection[ast.AST]) -> bool:
    """Whether the parser is argparse's own, not one that adds options by itself."""
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    modules = {node.module for node in froms if any(a.name == _PARSER for a in node.names)}
    whole = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    by_name = any((alias.name, alias.asname) == ("argparse", None) for alias in whole)
    made = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
    return f"argparse.{_PARSER}" in made if by_name else modules == {"argparse"}


def _stay_here(nodes: Collection[ast.AST], made: Collection[ast.Call]) -> bool:
    """Whether a parser and its groups are names of which only methods are called."""
    bound = [node for node in nodes if isinstance(node, ast.Assign) and node.value in made]
    targets = [target for node in bound for target in node.targets]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    if len(bound) < len(made) or len(names) < len(targets):
        return False
    owners = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    used = [node for node in nodes if isinstance(node, ast.Name) and node.id in names]
    return all(id(node) in owners or isinstance(node.ctx, ast.Store) for node in used)

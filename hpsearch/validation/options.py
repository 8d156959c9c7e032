"""Whether a script has the options that a command gives it.

The script isn't run: its own file is read, and judged only where it makes one parser of argparse
that nothing else can add options to.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from hpsearch.errors import Problem, nearest_names
from hpsearch.spec import Command, join
from hpsearch.training.command.arguments import placeholders, style_of
from hpsearch.user_code import scripts

_PARSER = "ArgumentParser"
#: what makes something that has `add_argument`
_MAKERS = (_PARSER, "add_argument_group", "add_mutually_exclusive_group")


def option_problems(command: Command, names: Collection[str], folder: Path) -> Iterator[Problem]:
    """Yield the options that a script doesn't have; `names` are the hyperparameters."""
    for script in scripts(command.run)[:1]:
        known = None
        with suppress(OSError, SyntaxError, ValueError):  # a missing file is reported elsewhere
            known = _options(ast.parse((folder / script).read_text()))
        if known is None:
            return
        rule = f"must be an option of {script}"
        for word in _given(command, script):
            if not _is_known(word, known):
                yield Problem("command.run", rule, word, nearest_names(word, known))
        if style_of(command) == "argparse":
            for name in sorted(set(names) - set(placeholders(command.run))):
                if not _is_known(f"--{name}", known):
                    near = nearest_names(name, [each.removeprefix("--") for each in known])
                    yield Problem(join("space", name), rule, f"--{name}", near)


def _given(command: Command, script: str) -> Iterator[str]:
    """Yield the long options that a command line gives after its script."""
    for word in command.run[command.run.index(script) + 1 :]:
        if word == "--":
            return
        option = word.partition("=")[0]
        if option.startswith("--") and not placeholders([option]):
            yield option


def _is_known(word: str, known: Collection[str]) -> bool:
    """Whether a parser takes a word for an option, which may be cut short."""
    return any(option.startswith(word) for option in known)


def _options(tree: ast.Module) -> list[str] | None:
    """Return the long options of a script's only parser; None where there may be more."""
    nodes = list(ast.walk(tree))
    calls = [(node, _name(node)) for node in nodes if isinstance(node, ast.Call)]
    made = [call for call, name in calls if name in _MAKERS]
    called = [name for _, name in calls]
    if called.count(_PARSER) != 1 or {"parse_known_args", "add_subparsers"} & set(called):
        return None
    if not _is_of_argparse(nodes) or not _stay_here(nodes, made):
        return None
    found = ["--help"]
    for call, name in calls:
        if name == _PARSER and any(each.arg in ("parents", None) for each in call.keywords):
            return None
        if name == "add_argument":
            words = [each.value for each in call.args if isinstance(each, ast.Constant)]
            if len(words) < len(call.args):
                return None
            found += [word for word in map(str, words) if word.startswith("--")]
            if "BooleanOptionalAction" in ast.unparse(call):
                found += [f"--no-{str(word).removeprefix('--')}" for word in words]
    return found


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

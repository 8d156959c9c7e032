"""Whether a command gives what its script requires: options of argparse, values of Hydra.

The script isn't run: its own file is read. What that doesn't show is left to the script.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hpsearch.errors import Problem
from hpsearch.spec import Command
from hpsearch.training.command.arguments import placeholders, style_of
from hpsearch.user_code import scripts


def required_problems(command: Command, names: Collection[str], folder: Path) -> Iterator[Problem]:
    """Yield what the command must give; `names` are the hyperparameters."""
    for script in scripts(command.run):
        with suppress(OSError, SyntaxError, ValueError):  # a missing file is reported elsewhere
            tree = ast.parse((folder / script).read_text())
            missing = [*_options(tree, command, names), *_values(tree, command, names, folder)]
            if missing:
                rule = f"must set the required arguments of {script}"
                yield Problem("command.run", f"{rule}: {', '.join(missing)}")


def _options(tree: ast.Module, command: Command, names: Collection[str]) -> Iterator[str]:
    """Yield the required options of argparse that aren't given."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = [ast.unparse(call.func).rpartition(".")[2] for call in calls]
    parses = [call for call, name in zip(calls, called, strict=True) if name == "parse_args"]
    is_clear = called.count("ArgumentParser") == 1 and "add_subparsers" not in called
    if not is_clear or any(call.args or call.keywords for call in parses):
        return
    given = [word.partition("=")[0] for word in command.run]
    if style_of(command) == "argparse":
        given += [f"--{name}" for name in names]
    for call, name in zip(calls, called, strict=True):
        words = _constants(call.args)
        is_given = any(_stands_for(word, words) for word in given)
        if name == "add_argument" and _is_required(call) and words and not is_given:
            yield max(words, key=len)


def _is_required(call: ast.Call) -> bool:
    values = {each.arg: each.value for each in call.keywords}
    required = values.get("required")
    return isinstance(required, ast.Constant) and required.value is True


def _stands_for(word: str, names: list[str]) -> bool:
    """Whether a word gives an option, by its name or the beginning of it."""
    return word in names or (len(word) > 2 and any(name.startswith(word) for name in names))


def _values(
    tree: ast.Module, command: Command, names: Collection[str], folder: Path
) -> Iterator[str]:
    """Yield the values of a script's Hydra config that are ??? and aren't given."""
    config = _hydra_config(tree)
    if config is None or any(word.startswith(("--config", "-c")) for word in command.run):
        return
    words = [word for word in command.run if "=" in word and not word.startswith("-")]
    plain = [word for word in words if not placeholders([word])]
    given = {word.partition("=")[0].lstrip("+") for word in words if word not in plain}
    if style_of(command) == "hydra":
        given |= set(names) - set(placeholders(command.run))
    path, name = config
    script = scripts(command.run)[0]
    for missing in _missing_values((folder / script).parent / path, name, plain):
        if missing not in given and not any(missing.startswith(f"{each}.") for each in given):
            yield missing


def _hydra_config(tree: ast.Module) -> tuple[str, str] | None:
    """Return the folder and the name of the config that `@hydra.main` gives, if any."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hydra.main":
            values: Mapping[str | None, Any] = {
                each.arg: each.value.value
                for each in node.keywords
                if isinstance(each.value, ast.Constant)
            }
            path, name = values.get("config_path"), values.get("config_name")
            if isinstance(path, str) and isinstance(name, str):
                return path, name
    return None


def _missing_values(folder: Path, name: str, overrides: list[str]) -> list[str]:
    """Return the names of the values that a composed config lacks; none where it can't be."""
    with suppress(Exception):  # the script may register what the config is made of
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf

        with initialize_config_dir(str(folder.resolve()), version_base=None):
            return sorted(OmegaConf.missing_keys(compose(name, overrides)))
    return []


def _constants(nodes: list[ast.expr]) -> list[str]:
    found = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return [each for each in found if isinstance(each, str) and each.startswith("-")]

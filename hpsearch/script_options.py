"""The options of a script: those of argparse or Hydra, or what its `--help` prints."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hpsearch.errors import HpsearchError
from hpsearch.script_hooks import ARGPARSE_OPTIONS
from hpsearch.training.command.environment import command_path

#: seconds in which a script must have printed its options
TIMEOUT_S = 60.0
#: a value of OmegaConf's that must be given
_MUST_BE_GIVEN = "???"
_HELP_OPTION = re.compile(r"^[\s│|]+(?:-\w(?:[ ,]+[A-Z_]+)?[, ]+)?(--[\w.-]+)(?:[= ]|$)")
_HELP_REQUIRED = "[required]"  # as click and typer write it
_HELP_DEFAULT = re.compile(r"[(\[]default(?:: |=| )([^)\]]+)[)\]]")


@dataclass(frozen=True)
class Option:
    """An option of a script: `--batch-size`, or `optimizer.lr` of Hydra."""

    word: str
    default: Any = None
    choices: tuple[Any, ...] = ()
    is_flag: bool = False
    is_required: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def is_positional(self) -> bool:
        """Whether it is given by its place, without its name."""
        return self.word.startswith("<")

    @property
    def name(self) -> str:
        """The hyperparameter: `batch_size`; a key of Hydra as it is."""
        is_option = self.word.startswith("-")
        return self.word.lstrip("-").replace("-", "_") if is_option else self.word

    @property
    def number(self) -> float | None:
        """The default, if that is a positive number."""
        is_number = isinstance(self.default, int | float) and not isinstance(self.default, bool)
        return self.default if is_number and self.default > 0 else None


def read_options(words: Sequence[str], folder: Path) -> tuple[list[Option], bool]:
    """Return the options of a script, and whether they are Hydra's."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "options.json"
        python_path = [str(ARGPARSE_OPTIONS), os.environ.get("PYTHONPATH", "")]
        environment = {
            "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
            "HPSEARCH_OPTIONS": str(target),
            "COLUMNS": "200",
        }
        help_text = _output([*words, "--help"], folder, environment)
        if target.is_file():
            return [_of_argparse(each) for each in json.loads(target.read_text())], False
    if "hydra" in help_text.lower():
        config = yaml.safe_load(_output([*words, "--cfg", "job"], folder, {})) or {}
        return [_of_hydra(name, value) for name, value in _keys(config)], True
    return list(_of_help(help_text)), False


def _of_argparse(found: Mapping[str, Any]) -> Option:
    names = found["names"] or [f"<{found['dest']}>"]
    word = next((each for each in names if each.startswith("--")), names[0])
    choices = tuple(found["choices"] or ())
    is_flag, is_required = bool(found["is_flag"]), bool(found["is_required"])
    return Option(word, found["default"], choices, is_flag, is_required, tuple(names))


def _keys(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested config by the dotted keys that override them."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _of_hydra(name: str, value: Any) -> Option:
    is_required = value == _MUST_BE_GIVEN
    return Option(name, None if is_required else value, is_required=is_required)


def _of_help(text: str) -> Iterator[Option]:
    """Yield the options that a help text lists, with the defaults that it states."""
    entries: list[tuple[str, str]] = []
    for line in text.splitlines():
        if match := _HELP_OPTION.match(line):
            entries.append((match[1], line))
        elif entries and line.strip():
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line.strip()}")
    for word, description in entries:
        if word != "--help":
            stated = _HELP_DEFAULT.search(description)
            default = _value(stated[1]) if stated else None
            yield Option(word, default, is_required=_HELP_REQUIRED in description)


def _value(text: str) -> Any:
    with suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    return text


def _output(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    try:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, "PATH": command_path(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise HpsearchError(f"{words[0]}: can't be run: {error.strerror}") from error
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        rule = f"must print its options and end, but ran for {TIMEOUT_S:g} s and was stopped"
        raise HpsearchError(f"{' '.join(words)}: {rule}; does it ignore --help?") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        with process:  # closes its pipes
            pass
    if process.returncode != 0:
        last = errors.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
        raise HpsearchError(f"{' '.join(words)}: must print the script's options: {last[0]}")
    return output

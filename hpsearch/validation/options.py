"""Whether a script has the options that a command gives it, and takes their values."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hpsearch.errors import Problem, nearest_names
from hpsearch.spec import Command, Range, Tree, join
from hpsearch.training.command.arguments import placeholders, style_of, text
from hpsearch.user_code import scripts
from hpsearch.validation.argparse_options import Option, read_options

#: ranges of more whole numbers are longer than any choices
_MAX_NUMBERS = 1000


def option_problems(
    command: Command, space: Mapping[str, Sequence[Tree]], folder: Path
) -> Iterator[Problem]:
    """Yield the options that a script doesn't have, and values that its options don't take.

    `space` has the constants and ranges that each hyperparameter may be.
    """
    for script in scripts(command.run)[:1]:
        known = None
        with suppress(OSError, SyntaxError, ValueError):  # a missing file is reported elsewhere
            known = read_options(ast.parse((folder / script).read_text()))
        if known is not None:
            yield from _name_problems(command, space, known, script)
            yield from _value_problems(command, space, known, script)


def _name_problems(
    command: Command, space: Mapping[str, Sequence[Tree]], known: Mapping[str, Option], script: str
) -> Iterator[Problem]:
    rule = f"must be an option of {script}"
    for word in _given(command, script):
        if not _meant(word, known):
            yield Problem("command.run", rule, word, nearest_names(word, known))
    for name, word in _appended(command, space).items():
        if not _meant(word, known):
            near = nearest_names(name, [each.removeprefix("--") for each in known])
            yield Problem(join("space", name), rule, word, near)


def _value_problems(
    command: Command, space: Mapping[str, Sequence[Tree]], known: Mapping[str, Option], script: str
) -> Iterator[Problem]:
    appended = _appended(command, space)
    for name, word in {**_placed(command.run), **appended}.items():
        options = {known[each] for each in _meant(word, known)}
        if len(options) != 1:  # unknown, or cut too short
            continue
        (option,) = options
        for value in space.get(name, ()):
            if rule := _broken_rule(value, option, name in appended):
                where = f"for {_meant(word, known)[0]} of {script}"
                yield Problem(join("space", name), f"{rule} {where}", _shown(value))


def _broken_rule(value: Tree, option: Option, is_appended: bool) -> str | None:
    """Return what a value must be to be taken, if it isn't.

    True and false are appended as flags; null is left out.
    """
    if value is None or option.has_nargs or isinstance(value, list | tuple | Mapping):
        return None
    if option.is_flag:
        if not is_appended:
            return "must have no placeholder (with command.arguments: argparse)"
        return None if isinstance(value, bool) else "must be true or false"
    if isinstance(value, bool):
        return "must be a value, and true is a flag," if is_appended else None
    if option.choices is not None and not _are_among(value, option):
        return f"must be one of {', '.join(map(str, option.choices))}"
    if option.type is not None and not _is_of(value, option.type):
        return "must be a whole number" if option.type is int else "must be a number"
    return None


def _are_among(value: Tree, option: Option) -> bool:
    if isinstance(value, Range):
        numbers = value.whole_numbers
        is_short = value.is_integer and len(numbers) <= _MAX_NUMBERS
        return is_short and all(_are_among(number, option) for number in numbers)
    with suppress(ValueError):
        return (option.type or str)(text(value)) in (option.choices or ())
    return False


def _is_of(value: Tree, kind: type) -> bool:
    if isinstance(value, Range):
        return kind is float or value.is_integer
    try:
        kind(text(value))
    except ValueError:
        return False
    return True


def _shown(value: Tree) -> object:
    if not isinstance(value, Range):
        return value
    return value.model_dump(exclude_defaults=True)


def _given(command: Command, script: str) -> Iterator[str]:
    """Yield the long options that a command line gives after its script."""
    for word in command.run[command.run.index(script) + 1 :]:
        if word == "--":
            return
        option = word.partition("=")[0]
        if option.startswith("--") and not placeholders([option]):
            yield option


def _appended(command: Command, space: Mapping[str, Sequence[Tree]]) -> dict[str, str]:
    """Return the options of the hyperparameters that are appended to a command."""
    if style_of(command) != "argparse":
        return {}
    return {name: f"--{name}" for name in sorted(set(space) - set(placeholders(command.run)))}


def _placed(words: Sequence[str]) -> dict[str, str]:
    """Return the options whose value is a placeholder, `--lr {lr}` or `--lr={lr}`, by its name."""
    found = {}
    for before, word in zip(["", *words], words, strict=False):
        option, is_joined, value = word.partition("=")
        option, value = (option, value) if is_joined else (before, word)
        names = placeholders([value])
        if option.startswith("--") and names and value == f"{{{names[0]}}}":
            found[names[0]] = option
    return found


def _meant(word: str, known: Mapping[str, Option]) -> list[str]:
    """Return the options that a word stands for, which may be cut short."""
    return [word] if word in known else [each for each in known if each.startswith(word)]

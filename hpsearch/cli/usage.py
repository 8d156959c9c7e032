"""What is wrong with a command line, in the words of all other errors."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from typer.exceptions import TyperException

from hpsearch.errors import Problem, SpecError, nearest_names

#: rules of numbers, by the type of pydantic's error
_RULES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "float_parsing": "must be a number",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be greater than {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be less than {lt:g}",
}


def usage_error(error: TyperException) -> SpecError:
    """Return what Typer says of an option or an argument as a problem, with a command that helps.

    The place is the option, such as `--trials`, or the argument's name.
    """
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "hpsearch")
    problem = (
        _of_a_value(error)
        or _of_a_missing_parameter(error)
        or _of_an_unknown_option(error, context, command)
    )
    if problem is None:
        text = str(getattr(error, "format_message", error.__str__)()).rstrip(".")
        problem = Problem("", text[:1].lower() + text[1:])
    hint = problem.hint or f"see `{command} --help`"
    return SpecError([Problem(problem.path, problem.rule, problem.value, problem.nearest, hint)])


def _of_a_value(error: TyperException) -> Problem | None:
    if not isinstance(error.__cause__, ValidationError):
        return None
    first = error.__cause__.errors()[0]
    _, is_choice, choices = first["msg"].partition("is not one of ")
    if is_choice:
        return Problem(_place(error), f"must be one of {choices}".rstrip("."), first["input"])
    rule = _RULES.get(first["type"])
    if rule is None:
        return None
    return Problem(_place(error), rule.format(**first.get("ctx", {})), first["input"])


def _of_a_missing_parameter(error: TyperException) -> Problem | None:
    is_missing = hasattr(error, "param_type") and getattr(error, "param", None) is not None
    return Problem(_place(error), "must be given") if is_missing else None


def _of_an_unknown_option(error: TyperException, context: Any, command: str) -> Problem | None:
    name = getattr(error, "option_name", None)
    if name is None or not hasattr(error, "possibilities"):
        return None
    known = [opt for each in context.command.params for opt in each.opts if opt.startswith("--")]
    return Problem(name, f"must be an option of {command}", nearest=nearest_names(name, known))


def _place(error: TyperException) -> str:
    param: Any = getattr(error, "param", None)
    options = [each for each in param.opts if each.startswith("-")]
    return max(options, key=len) if options else str(param.metavar or param.name).upper()

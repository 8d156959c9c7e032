"""Where the metrics of a command come from: reports by default, or what the script writes anyway.

    @register("metric_source", "mine")
    class Mine: ...

A source has the methods of `MetricSource`. It may have the keyword `path`, a path from the working
directory in which placeholders are filled as in the command, or a pattern such as `logs/*.csv`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from hpsearch.errors import UserCodeError
from hpsearch.registry import register
from hpsearch.training.command.epochs import ScriptReport
from hpsearch.training.command.process import Line, Stream

FAMILY = "metric_source"
#: what the number is that a logger gives to its metrics
At = Literal["epoch", "step"]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class MetricSource(Protocol):
    """Finds the metrics of a running script."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that the script needs for it."""

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        """Return what is new, given the new lines of output; called again and again, and once
        before the script starts, whose end is `at_end`."""

    def missing(self) -> str:
        """Say what the script didn't do where nothing was found."""


@register(FAMILY, "report")
class Reports:
    """Metrics that the script reports by `hpsearch.report`."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        return ()

    def missing(self) -> str:
        return (
            "it must call hpsearch.report(epoch=..., metric=...), or `metrics` must name another "
            "source, such as {from: stdout, pattern: ...}"
        )


@register(FAMILY, "stdout")
class Output:
    """Lines of the output that match a pattern with named groups.

    `pattern` is a regular expression, or a list of them. The groups `epoch` and `step` say where a
    line belongs, all others are metrics: `epoch (?P<epoch>\\d+).* acc=(?P<acc>[-+\\d.eE]*\\d)`.
    Standard error counts too, where Python's logging and tqdm write, unless `stream` says which.
    """

    def __init__(
        self, pattern: str | list[str], stream: Stream | Literal["both"] = "both"
    ) -> None:
        self._stream = stream
        texts = [pattern] if isinstance(pattern, str) else pattern
        self._patterns = [_compiled(text) for text in texts]
        self._pattern = " or ".join(map(repr, texts))

    def environment(self) -> Mapping[str, str]:
        return {}

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        texts = (each.text for each in lines if self._stream in (each.stream, "both"))
        for line in (_COLOUR.sub("", text) for text in texts):
            for pattern in self._patterns:
                if match := pattern.search(line):
                    found = _numbers(match.groupdict(), line)
                    yield read_report(found, f"the line {line!r}")

    def missing(self) -> str:
        where = "output" if self._stream == "both" else self._stream
        return f"no line of its {where} matches the pattern {self._pattern}"


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        rule = f"must be a regular expression ({error})"
        raise UserCodeError(rule, pattern, keyword="pattern") from error
    if not set(compiled.groupindex) - {"epoch", "step"}:
        rule = "must have a group named as a metric, such as (?P<val_accuracy>[\\d.]+)"
        raise UserCodeError(rule, pattern, keyword="pattern")
    return compiled


def _numbers(texts: Mapping[str, str | None], line: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, text in texts.items():
        try:
            found |= {} if text is None else {name: float(text)}
        except ValueError as error:
            raise UserCodeError(
                f"the line {line!r}: {name} must be a number, but got {text!r}",
                hint="change the group of the pattern",
            ) from error
    return found


def read_report(values: Mapping[str, Any], place: str) -> ScriptReport:
    """Make a report of numbers and their texts; what is neither is no metric."""
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool) or value in (None, ""):
            continue
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            continue
    epoch, step = (_whole(numbers.pop(name, None), name, place) for name in ("epoch", "step"))
    return ScriptReport(numbers, epoch, step)


def _whole(value: float | None, name: str, place: str) -> int | None:
    if value is None:
        return None
    if not math.isfinite(value) or value < 0:
        raise UserCodeError(f"{place}: {name} must be a number >= 0, but got {value:g}")
    return int(value)

"""Where the metrics of a command come from: reports by default, or what the script writes anyway.

    @register("metric_source", "mine")
    class Mine: ...

A source has the methods of `MetricSource`. It may have the keyword `path`, a path from the working
directory in which placeholders are filled as in the command, or a pattern such as `logs/*.csv`.
"""

from __future__ import annotations

import csv
import json
import math
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from hpsearch.errors import UserCodeError
from hpsearch.registry import register
from hpsearch.script_hooks import WANDB_LOGS
from hpsearch.training.command.epochs import ScriptReport
from hpsearch.training.command.process import Line, Stream

FAMILY = "metric_source"
At = Literal["epoch", "step"]
#: of cells in CSV files; of equally frequent ones the first
_SEPARATORS = (",", ";", "\t", "|")
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
            "it must call hpsearch.report(epoch=..., metric=...), or the spec must say where "
            "`metrics` come from, such as {from: stdout, pattern: ...}"
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
                    yield _report(found, f"the line {line!r}")

    def missing(self) -> str:
        where = "output" if self._stream == "both" else self._stream
        return f"no line of its {where} matches the pattern {self._pattern}"


class _Files:
    """Files that grow, found by a pattern of their paths."""

    def __init__(self, path: str, working_dir: Path) -> None:
        self._pattern = path
        self._working_dir = working_dir
        #: size and time of change of each file when it was last looked at
        self._seen: dict[Path, tuple[int, int]] = {}

    def environment(self) -> Mapping[str, str]:
        return {}

    def missing(self) -> str:
        return f"no metrics were found in {self._working_dir / self._pattern}"

    def _changed(self) -> Iterator[Path]:
        """Yield the files that are not as they were when they were last looked at."""
        place = Path(self._pattern)
        root, pattern = self._working_dir, str(place)
        if place.is_absolute():
            root, pattern = Path(place.anchor), str(place.relative_to(place.anchor))
        for path in sorted(root.glob(pattern)):
            if path.is_file():
                status = path.stat()
                seen = (status.st_size, status.st_mtime_ns)
                if seen != self._seen.get(path):
                    self._seen[path] = seen
                    yield path


class _Rows(_Files, ABC):
    """Files of rows, each of which is a report.

    Rows that were there before the script started, of an earlier run of it, count only where they
    say their epoch or step: those are known by it.
    """

    def __init__(
        self, path: str, working_dir: Path, epoch: str = "epoch", step: str = "step"
    ) -> None:
        super().__init__(path, working_dir)
        self._names = {epoch: "epoch", step: "step"}
        self._num_read: dict[Path, int] = {}
        self._has_begun = False

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        if at_end:
            self._seen.clear()  # a last row without a line end was left
        has_begun, self._has_begun = self._has_begun, True
        for path in self._changed():
            lines_read = path.read_text(encoding="utf-8-sig", errors="replace").split("\n")
            # the last line may not be whole yet
            rows = list(self._rows(lines_read if at_end else lines_read[:-1], path))
            first = self._num_read.get(path, 0)
            if len(rows) < first:  # the script has written the file again
                first = 0
            self._num_read[path] = len(rows)
            for row in rows[first:]:
                report = _report(_renamed(row, self._names), str(path))
                if has_begun or report.epoch is not None or report.step is not None:
                    yield report

    @abstractmethod
    def _rows(self, lines: Sequence[str], path: Path) -> Iterable[Mapping[str, Any]]:
        """Return the rows of a file's whole lines."""


@register(FAMILY, "jsonl")
class JsonLines(_Rows):
    """A file with a JSON object a line: numbers are metrics, `epoch` and `step` say where."""

    def _rows(self, lines: Sequence[str], path: Path) -> Iterable[Mapping[str, Any]]:
        return (_parsed(line, path) for line in lines if line.strip())


@register(FAMILY, "csv")
class CsvRows(_Rows):
    """A CSV file with a header, such as Lightning's CSVLogger writes; empty cells are left out.

    Commas, semicolons (then with decimal commas too), tabs or bars separate its cells.
    """

    def _rows(self, lines: Sequence[str], path: Path) -> Iterable[Mapping[str, Any]]:
        separator = max(_SEPARATORS, key=lines[0].count) if lines else ","
        rows = csv.DictReader(lines, skipinitialspace=True, delimiter=separator)
        return map(_with_points, rows) if separator == ";" else rows


@register(FAMILY, "tensorboard")
class TensorBoard(_Files):
    """TensorBoard's event files: scalars by tag.

    `path` is the folder of the logs; `at` says whether the steps of events are epochs or steps.
    """

    def __init__(self, path: str, working_dir: Path, at: At = "epoch") -> None:
        super().__init__(f"{path}/**/*tfevents*", working_dir)
        self._at = at
        self._loaders: dict[Path, Any] = {}
        _event_files()

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        for path in self._changed():
            if path not in self._loaders:
                self._loaders[path] = _event_files()(str(path))
            by_step: dict[int, dict[str, Any]] = {}
            for event in self._loaders[path].Load():
                for value in event.summary.value:
                    if (number := _scalar(value)) is not None:
                        by_step.setdefault(event.step, {})[value.tag] = number
            for step, values in by_step.items():
                yield _report({**values, self._at: step}, str(path))


@register(FAMILY, "mlflow")
class MLflowRuns:
    """What the script logs to MLflow, which writes to a folder of the trial's meanwhile."""

    def __init__(self, files: Path, at: At = "epoch") -> None:
        self._folder = files / "mlruns"
        self._at = at
        self._read: dict[Path, int] = {}

    def environment(self) -> Mapping[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self._folder.resolve().as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
        }

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        by_step: dict[int, dict[str, float]] = {}
        without_step: dict[int, dict[str, float]] = {}
        for path in sorted(self._folder.glob("*/*/metrics/**/*")):
            if not path.is_file():
                continue
            name = path.as_posix().partition("/metrics/")[2]
            entries = [entry.split() for entry in path.read_text().splitlines()]
            for i in range(self._read.get(path, 0), len(entries)):
                _, value, step, *_ = entries[i]
                # without a step MLflow writes 0 each time
                repeats = i > 0 and step == entries[i - 1][2]
                of = (
                    without_step.setdefault(i, {})
                    if repeats
                    else by_step.setdefault(int(step), {})
                )
                of[name] = float(value)
            self._read[path] = len(entries)
        for epoch, values in sorted(by_step.items()):
            yield _report({**values, self._at: epoch}, "MLflow's run")
        for _, values in sorted(without_step.items()):
            yield _report(values, "MLflow's run")

    def missing(self) -> str:
        return "it logged no metrics to MLflow, at the MLFLOW_TRACKING_URI of its environment"


@register(FAMILY, "wandb")
class WandbLogs:
    """What the script logs to W&B, which writes to a folder of the trial's, offline.

    `epoch` is the name of the logged value that is the epoch; without it W&B's step counts.
    """

    def __init__(self, files: Path, epoch: str = "epoch") -> None:
        self._folder = files
        self._epoch = epoch

    def environment(self) -> Mapping[str, str]:
        # W&B's own files are buffered and read by its program alone: its `log` reports instead
        return {
            "WANDB_MODE": "offline",
            "WANDB_DIR": str(self._folder),
            "WANDB_SILENT": "true",
            "HPSEARCH_WANDB_EPOCH": self._epoch,
            "PYTHONPATH": str(WANDB_LOGS),
        }

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        return ()

    def missing(self) -> str:
        return "it logged no metrics to W&B"


def _with_points(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write decimal commas as points."""
    return {
        name: value.replace(",", ".") if isinstance(value, str) else value
        for name, value in row.items()
    }


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


def _report(values: Mapping[str, Any], place: str) -> ScriptReport:
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


def _parsed(line: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UserCodeError(f"{path}: must hold JSON lines, but got {line[:200]!r}") from error
    return values if isinstance(values, dict) else {}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _event_files() -> Any:
    """Return TensorBoard's reader of event files."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    except ImportError as error:
        rule = "must be installed to read metrics from it: pip install tensorboard"
        raise UserCodeError(f"tensorboard: {rule}") from error
    return EventFileLoader


def _scalar(value: Any) -> float | None:
    """Return the number of a summary's value, None for images and the like."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    if not value.HasField("tensor") or value.metadata.plugin_data.plugin_name != "scalars":
        return None
    numbers = value.tensor.float_val or value.tensor.double_val
    if not numbers and len(value.tensor.tensor_content) == 4:
        return float(struct.unpack("<f", value.tensor.tensor_content)[0])
    return float(numbers[0]) if numbers else None

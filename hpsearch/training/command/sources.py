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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from hpsearch.errors import UserCodeError
from hpsearch.registry import register
from hpsearch.script_hooks import WANDB_LOGS
from hpsearch.training.command.epochs import ScriptReport

FAMILY = "metric_source"
At = Literal["epoch", "step"]


class MetricSource(Protocol):
    """Finds the metrics of a running script."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that the script needs for it."""

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        """Return what is new, given the new lines of output; called again and again."""

    def missing(self) -> str:
        """Say what the script didn't do where nothing was found."""


@register(FAMILY, "report")
class Reports:
    """Metrics that the script reports by `hpsearch.report`."""

    def environment(self) -> Mapping[str, str]:
        return {}

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        return ()

    def missing(self) -> str:
        return (
            "it must call hpsearch.report(epoch=..., metric=...), or the spec must say where "
            "`metrics` come from, such as {from: stdout, pattern: ...}"
        )


@register(FAMILY, "stdout")
class Output:
    """Lines of standard output that match a pattern with named groups.

    `pattern` is a regular expression, or a list of them. The groups `epoch` and `step` say where a
    line belongs, all others are metrics: `epoch (?P<epoch>\\d+).* acc=(?P<val_accuracy>[\\d.]+)`.
    """

    def __init__(self, pattern: str | list[str]) -> None:
        texts = [pattern] if isinstance(pattern, str) else pattern
        self._patterns = [_compiled(text) for text in texts]
        self._pattern = " or ".join(map(repr, texts))

    def environment(self) -> Mapping[str, str]:
        return {}

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        for line in lines:
            for pattern in self._patterns:
                if match := pattern.search(line):
                    found = _numbers(match.groupdict(), line)
                    yield _report(found, f"the line {line!r}")

    def missing(self) -> str:
        return f"no line of its output matches the pattern {self._pattern}"


class _Files:
    """Files that grow, found by a pattern of their paths."""

    def __init__(self, path: str, working_dir: Path) -> None:
        self._pattern = path
        self._working_dir = working_dir
        self._sizes: dict[Path, int] = {}

    def environment(self) -> Mapping[str, str]:
        return {}

    def missing(self) -> str:
        return f"no metrics were found in {self._working_dir / self._pattern}"

    def _changed(self) -> Iterator[Path]:
        """Yield the files that have another size than when they were last looked at."""
        place = Path(self._pattern)
        root, pattern = (
            (Path(place.anchor), place.relative_to(place.anchor))
            if (place.is_absolute())
            else (self._working_dir, place)
        )
        for path in sorted(root.glob(str(pattern))):
            if path.is_file() and (size := path.stat().st_size) != self._sizes.get(path):
                self._sizes[path] = size
                yield path


@register(FAMILY, "jsonl")
class JsonLines(_Files):
    """A file with a JSON object a line: numbers are metrics, `epoch` and `step` say where."""

    def __init__(
        self, path: str, working_dir: Path, epoch: str = "epoch", step: str = "step"
    ) -> None:
        super().__init__(path, working_dir)
        self._names = {epoch: "epoch", step: "step"}
        self._read: dict[Path, int] = {}

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        for path in self._changed():
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, _, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + bool(whole)
            for line in whole.splitlines():
                if line.strip():
                    yield _report(_renamed(_parsed(line, path), self._names), str(path))


@register(FAMILY, "csv")
class CsvRows(_Files):
    """A CSV file with a header, such as Lightning's CSVLogger writes; empty cells are left out."""

    def __init__(
        self, path: str, working_dir: Path, epoch: str = "epoch", step: str = "step"
    ) -> None:
        super().__init__(path, working_dir)
        self._names = {epoch: "epoch", step: "step"}
        self._rows: dict[Path, int] = {}

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        # the whole file: loggers write it again where a new metric needs a column
        for path in self._changed():
            whole, _, _ = path.read_text(errors="replace").rpartition("\n")
            rows = list(csv.DictReader(whole.splitlines()))
            for row in rows[self._rows.get(path, 0) :]:
                yield _report(_renamed(row, self._names), str(path))
            self._rows[path] = len(rows)


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

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
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

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        by_step: dict[int, dict[str, Any]] = {}
        for path in sorted(self._folder.glob("*/*/metrics/**/*")):
            if not path.is_file():
                continue
            name = path.as_posix().partition("/metrics/")[2]
            entries = path.read_text().splitlines()
            for entry in entries[self._read.get(path, 0) :]:
                _, value, step, *_ = entry.split()
                by_step.setdefault(int(step), {})[name] = float(value)
            self._read[path] = len(entries)
        for epoch, values in sorted(by_step.items()):
            yield _report({**values, self._at: epoch}, "MLflow's run")

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

    def read(self, lines: Sequence[str]) -> Iterable[ScriptReport]:
        return ()

    def missing(self) -> str:
        return "it logged no metrics to W&B"


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


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
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

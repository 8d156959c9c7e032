"""Sources of metrics that are files: JSON lines, CSV, TensorBoard's event files."""

from __future__ import annotations

import csv
import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hpsearch.errors import UserCodeError
from hpsearch.registry import register
from hpsearch.training.command.epochs import ScriptReport
from hpsearch.training.command.process import Line
from hpsearch.training.command.sources import FAMILY, At, read_report

#: of cells in CSV files; of equally frequent ones the first
_SEPARATORS = (",", ";", "\t", "|")


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
                report = read_report(_renamed(row, self._names), str(path))
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
                yield read_report({**values, self._at: step}, str(path))


def _with_points(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write decimal commas as points."""
    return {
        name: value.replace(",", ".") if isinstance(value, str) else value
        for name, value in row.items()
    }


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

"""Sequences of token ids of the user's own, of different lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Interval, MinLen
from numpy.typing import NDArray

from hpsearch.components.batch import IGNORED
from hpsearch.components.datasets.column_reading import ReadingRule
from hpsearch.components.datasets.columns import read_column
from hpsearch.components.datasets.csv_files import CsvForm, read_csv
from hpsearch.components.datasets.files import check_columns, resolve
from hpsearch.components.datasets.json_lines import SUFFIXES, read_json_lines
from hpsearch.components.datasets.tables import check_readings
from hpsearch.errors import DataError
from hpsearch.registry import register

if TYPE_CHECKING:
    from pandas import DataFrame

Numbers = NDArray[np.int64]
#: that many ids, and one that fills up, are float32 without being rounded
MOST_TOKENS = 2**24 - 1
_EXAMPLE_ROWS = 3


@register("dataset", "token_ids")
def token_ids(
    folder: Path,
    path: str,
    ids: str = "ids",
    target: str | None = None,
    num_tokens: Annotated[int, Interval(ge=2, le=MOST_TOKENS)] | None = None,
    length: Annotated[int, Interval(ge=2, le=4096)] | None = None,
    separator: Annotated[str, MinLen(1)] = ",",
    encoding: str = "utf-8",
) -> Mapping[str, Any]:
    """Sequences of token ids of yours, of different lengths, for the models rnn, transformer and
    echo_state.

    A row of a CSV file, or a line of a file of JSON lines (.jsonl), has a sequence in the column
    `ids`, as "5 0 17" or [5, 0, 17], and what is learned of it in the column `target`: a class or
    a number, or in JSON a list with the class of each step (null: it doesn't count), for the task
    sequence_labelling. Without a target it is the next token (language_model). Ids are from 0 to
    `num_tokens` - 1, by default up to the greatest in the file. Of a sequence the first `length`
    ids count, by default all; one more id fills shorter ones up, and counts nowhere. `separator`
    is that of a CSV file.
    """
    file = resolve(folder, path)
    if file.suffix in SUFFIXES:
        table = read_json_lines(file, encoding)
    else:
        table = read_csv(file, CsvForm(separator, encoding), ReadingRule(categories=[ids]))
    check_columns(table, file, "ids", [ids])
    sequences = read_sequences(table[ids], ids)
    known = max(2, 1 + max(max(each) for each in sequences)) if num_tokens is None else num_tokens
    check_known(sequences, known, ids)
    longest = max(map(len, sequences))
    cut = [each[:length] for each in sequences]
    common: dict[str, Any] = {"num_tokens": known + 1, "padding_id": known}
    if target is None:
        names = list(map(str, range(known)))
        train = _next_tokens(cut, known, ids)
        return {**common, "train": train, "classes": names, "kind": "language_model"}
    check_columns(table, file, "target", [target])
    if target == ids:
        raise DataError("must be another column than that of the ids", target, keyword="target")
    steps = min(longest, length or longest)
    reader = TokenTable(ids, known, steps, table[[ids]].head(_EXAMPLE_ROWS))
    x, common = filled(cut, steps, known), {**common, "table": reader}
    if any(isinstance(cell, list) for cell in table[target]):
        y, classes = _step_classes(table[target], list(map(len, sequences)), steps, target)
        return {**common, "train": (x, y), "classes": classes, "kind": "sequence_labelling"}
    values, reading = read_column(table[target], ReadingRule())
    check_readings({target: reading}, [target], file, "fill them")
    return {**common, "train": (x, values.to_numpy()), "targets": [target]}


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The column of a table that has sequences of ids, each of `length` once they are filled up;
    `example` has a few rows."""

    column: str
    num_tokens: int
    length: int
    example: DataFrame = field(repr=False)

    def encode(self, table: DataFrame) -> NDArray[np.float32]:
        """Return the sequences (rows, length) of a table; DataError for what is none."""
        check_columns(table, "the table", "columns", [self.column])
        sequences = read_sequences(table[self.column], self.column)
        check_known(sequences, self.num_tokens, self.column)
        cut = [each[: self.length] for each in sequences]
        return filled(cut, self.length, self.num_tokens).astype(np.float32)


def read_sequences(cells: Iterable[Any], column: str) -> list[list[int]]:
    """Return the ids of each cell, a list or a text of numbers; DataError for what is none."""
    return [_sequence(cell, row, column) for row, cell in enumerate(cells)]


def _sequence(cell: Any, row: int, column: str) -> list[int]:
    parts = cell.split() if isinstance(cell, str) else cell
    rule = f"column {column!r} must have ids, whole numbers from 0 to {MOST_TOKENS - 1}"
    told = f"{rule}, but row {row} (from 0) has"
    if not isinstance(parts, list | tuple | np.ndarray):
        is_missing = parts is None or parts != parts
        raise DataError(f"{told} {'none' if is_missing else repr(parts)}", keyword="ids")
    if not len(parts):
        raise DataError(f"{told} none", keyword="ids")
    if (wrong := next((part for part in parts if not _is_id(part)), parts)) is not parts:
        raise DataError(f"{told} {wrong!r:.40}", keyword="ids")
    return list(map(int, parts))


def _is_id(part: Any) -> bool:
    if isinstance(part, str):
        return part.isascii() and part.isdigit() and float(part) < MOST_TOKENS
    is_whole = isinstance(part, int | np.integer) and not isinstance(part, bool)
    return is_whole and bool(0 <= part < MOST_TOKENS)


def check_known(sequences: Sequence[Sequence[int]], num_tokens: int, column: str) -> None:
    """Raise DataError for ids that are none of so many tokens'."""
    for row, sequence in enumerate(sequences):
        if (beyond := max(sequence)) >= num_tokens:
            rule = f"must be above all ids of column {column!r}, of which row {row} (from 0) has"
            raise DataError(f"{rule} {beyond}", num_tokens, keyword="num_tokens")


def filled(sequences: Sequence[Sequence[int]], length: int, filler: int) -> Numbers:
    """Return sequences, of at most `length`, as rows (rows, length) filled up at their ends.

    >>> filled([[1, 2], [4]], 2, 9).tolist()
    [[1, 2], [4, 9]]
    """
    rows = np.full((len(sequences), length), filler, np.int64)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return rows


def _next_tokens(
    sequences: Sequence[Sequence[int]], filler: int, column: str
) -> tuple[Numbers, Numbers]:
    """Return each id but the last as inputs, and each but the first as targets."""
    lengths = list(map(len, sequences))
    if (shortest := min(lengths)) < 2:
        rule = f"column {column!r} must have two ids at least, the next one of which is learned"
        told = f"{rule}, but row {lengths.index(shortest)} (from 0) has one"
        raise DataError(told, keyword="ids")
    steps = max(2, max(lengths) - 1)
    before, after = [each[:-1] for each in sequences], [each[1:] for each in sequences]
    return filled(before, steps, filler), filled(after, steps, IGNORED)


def _step_classes(
    cells: Iterable[Any], lengths: Sequence[int], steps: int, column: str
) -> tuple[Numbers, list[str]]:
    """Return the class numbers of the first `steps` steps of sequences, and the classes."""
    rows = list(cells)
    for row, (cell, length) in enumerate(zip(rows, lengths, strict=True)):
        num_labels = len(cell) if isinstance(cell, list) else 0
        if num_labels != length:
            rule = f"column {column!r} must have a list with a class for each id, but row {row}"
            told = f"{rule} (from 0) has {num_labels} for {length} ids"
            raise DataError(told, keyword="target")
    classes = sorted({str(label) for cell in rows for label in cell if label is not None})
    if len(classes) < 2:
        rule = f"column {column!r} must have labels of two classes at least"
        raise DataError(rule, classes, keyword="target")
    numbers = {name: number for number, name in enumerate(classes)}
    known = [
        [IGNORED if label is None else numbers[str(label)] for label in cell[:steps]]
        for cell in rows
    ]
    return filled(known, steps, IGNORED), classes

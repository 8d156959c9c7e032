"""Data sets of texts, as ids of MiniLM's word pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval, MinLen

from hpsearch.components.datasets.column_reading import ReadingRule
from hpsearch.components.datasets.columns import read_column
from hpsearch.components.datasets.csv_files import CsvForm, read_csv
from hpsearch.components.datasets.files import check_columns, resolve
from hpsearch.components.datasets.tables import check_readings
from hpsearch.components.models.minilm import MAX_LENGTH, word_pieces
from hpsearch.errors import DataError
from hpsearch.registry import register

Length = Annotated[int, Interval(ge=3, le=MAX_LENGTH)]
FORTUNES_FOLDER = "/usr/share/games/fortunes"


@register("dataset", "text_csv")
def text_csv(
    folder: Path,
    path: str,
    text: str,
    target: str,
    length: Length = 64,
    separator: Annotated[str, MinLen(1)] = ",",
    header: bool = True,
    encoding: str = "utf-8",
    na_values: Sequence[str] = (),
) -> Mapping[str, Any]:
    """A table with a column of texts and a column of targets, for the model minilm.

    A text is its first `length` word pieces. The table is read as that of `csv`.
    """
    file = resolve(folder, path)
    rule = ReadingRule(na_values=na_values, categories=[text])
    table = read_csv(file, CsvForm(separator, encoding, header), rule)
    check_columns(table, file, "text", [text])
    check_columns(table, file, "target", [target])
    read = {name: read_column(table[name], rule) for name in (text, target)}
    check_readings({name: reading for name, (_, reading) in read.items()}, read, file)
    x = word_pieces(read[text][0], length)
    return {
        "train": (x, read[target][0].to_numpy()),
        "targets": [target],
        "columns": [reading for _, reading in read.values()],
        "standardize": False,
    }


@register("dataset", "fortunes")
def fortunes(
    folder: Path,
    topics: Sequence[str] = ("computers", "definitions", "literature", "science"),
    data_dir: str = FORTUNES_FOLDER,
    length: Length = 64,
) -> Mapping[str, Any]:
    """Sayings by topic, for the model minilm: the files of Debian's package fortunes.

    `topics` are files of `data_dir`, whose sayings are divided by lines with nothing but %.
    """
    sayings = [_sayings(folder / data_dir / topic) for topic in topics]
    texts = [text for group in sayings for text in group]
    classes = [number for number, group in enumerate(sayings) for _ in group]
    x = word_pieces(texts, length)
    return {"train": (x, classes), "classes": list(topics), "standardize": False}


def _sayings(file: Path) -> list[str]:
    try:
        content = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(
            f"fortunes needs {file}, but: {error.strerror or error}. Install the files by "
            "`apt-get install fortunes` (Debian, Ubuntu), or name their folder as `data_dir`"
        ) from error
    return [text.strip() for text in f"\n{content}\n".split("\n%\n") if text.strip()]

"""Data sets of texts, as ids of MiniLM's word pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from hpsearch.components.files import check_columns, check_complete, read_table, resolve
from hpsearch.components.minilm import MAX_LENGTH, word_pieces
from hpsearch.errors import DataError
from hpsearch.registry import register

Length = Annotated[int, Interval(ge=3, le=MAX_LENGTH)]
FORTUNES_FOLDER = "/usr/share/games/fortunes"


@register("dataset", "text_csv")
def text_csv(
    folder: Path, path: str, text: str, target: str, length: Length = 64, separator: str = ","
) -> Mapping[str, Any]:
    """A table with a column of texts and a column of targets, for the model minilm.

    A text is its first `length` word pieces.
    """
    import pandas

    file = resolve(folder, path)
    table = read_table(file, pandas.read_csv, sep=separator)
    check_columns(table, file, "text", [text])
    check_columns(table, file, "target", [target])
    check_complete(table[[text, target]], file)
    x = word_pieces(table[text].astype(str), length)
    y = table[target].to_numpy()
    return {"train": (x, y), "targets": [target], "standardize": False}


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
            f"dataset: fortunes needs {file}, but: {error.strerror or error}. Install the files "
            "by `apt-get install fortunes` (Debian, Ubuntu), or name their folder as "
            "dataset.data_dir"
        ) from error
    return [text.strip() for text in f"\n{content}\n".split("\n%\n") if text.strip()]

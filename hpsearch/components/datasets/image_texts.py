"""Data sets whose examples have an image and a text each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge, Interval, Len, MinLen
from numpy.typing import NDArray

from hpsearch.components.datasets.column_reading import ReadingRule
from hpsearch.components.datasets.columns import read_column
from hpsearch.components.datasets.csv_files import CsvForm, read_csv
from hpsearch.components.datasets.files import check_columns, resolve
from hpsearch.components.datasets.images.files import Color, ImageFiles, Resize
from hpsearch.components.datasets.tables import check_readings
from hpsearch.components.input_parts import InputPart, packed
from hpsearch.errors import DataError
from hpsearch.registry import register

if TYPE_CHECKING:
    from pandas import DataFrame

Pixels = Annotated[int, Interval(ge=1, le=1024)]
_WORD = re.compile(r"\w+")
#: ids of places after a text's end, and of words that aren't among those that are known
END, UNKNOWN = 0, 1
SHAPES = ("disc", "square")


@register("dataset", "image_text_csv")
def image_text_csv(
    folder: Path,
    path: str,
    image: str,
    text: str,
    target: str,
    image_size: Pixels | Annotated[Sequence[Pixels], Len(2, 2)] = 64,
    resize: Resize = "crop",
    color: Color = "rgb",
    length: Annotated[int, Interval(ge=1, le=4096)] = 32,
    words: Annotated[int, Ge(1)] = 10_000,
    separator: Annotated[str, MinLen(1)] = ",",
    header: bool = True,
    encoding: str = "utf-8",
    na_values: Sequence[str] = (),
) -> Mapping[str, Any]:
    """A table with a column of image files, one of texts and one of targets, for the model
    late_fusion, whose inputs are `image` and `text`.

    Files are from the table's folder; images are brought to `image_size`, a number or [height,
    width], as by image_folder, and read into memory. Of a text the first `length` words count, in
    small letters: the `words` that are most frequent in the table have ids of their own. The table
    is read as that of `csv`. It needs `pip install hpsearch[vision]`.
    """
    file = resolve(folder, path)
    rule = ReadingRule(na_values=na_values, categories=[image, text])
    table = read_csv(file, CsvForm(separator, encoding, header), rule)
    for keyword, name in (("image", image), ("text", text), ("target", target)):
        check_columns(table, file, keyword, [name])
    if image == text:
        raise DataError("must be another column than image", text, keyword="text")
    read = {name: read_column(table[name], rule) for name in (image, text, target)}
    check_readings({name: reading for name, (_, reading) in read.items()}, read, file)
    height, width = [image_size] * 2 if isinstance(image_size, int) else image_size
    texts = read[text][0].tolist()
    reader = ImageTexts(
        image,
        text,
        file.parent,
        ImageFiles((), height, width, color, resize),
        vocabulary(texts, words),
        length,
        table[[image, text]].head(3),
    )
    return {
        "train": (reader.encode(table), read[target][0].to_numpy()),
        "targets": [target],
        "columns": [reading for _, reading in read.values()],
        "inputs": reader.parts,
        "table": reader,
    }


@dataclass(frozen=True, eq=False)
class ImageTexts:
    """The columns of images and of texts of a table, as inputs; `example` has a few rows."""

    image: str
    text: str
    folder: Path
    files: ImageFiles
    ids: Mapping[str, int]
    length: int
    example: DataFrame = field(repr=False)

    @property
    def parts(self) -> tuple[InputPart, InputPart]:
        """What an example has."""
        words = InputPart("text", (self.length,), len(self.ids) + 2, END)
        return InputPart("image", self.files.shape), words

    def encode(self, table: DataFrame) -> NDArray[np.float32]:
        """Return rows (rows, values) of a table that has both columns, and may have others."""
        check_columns(table, "the table", "columns", [self.image, self.text])
        paths = [str(self.folder / str(path)) for path in table[self.image]]
        images = np.stack([self.files.pixels_of(path) for path in paths]) / np.float32(255)
        return packed([images, ids_of(table[self.text].astype(str), self.ids, self.length)])


def vocabulary(texts: Iterable[str], most: int) -> dict[str, int]:
    """Return the ids of the most frequent words; of those as frequent, the first by the alphabet.

    >>> vocabulary(["B a b", "c"], 2)
    {'b': 2, 'a': 3}
    """
    counts = Counter(word for text in texts for word in _words(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    return {word: number for number, word in enumerate(ranked, start=2)}


def ids_of(texts: Iterable[str], ids: Mapping[str, int], length: int) -> NDArray[np.int64]:
    """Return the ids of the first words of texts (texts, length).

    >>> ids_of(["B x", "a a a"], {"b": 2, "a": 3}, 2).tolist(), ids_of(["b"], {"b": 2}, 2).tolist()
    ([[2, 1], [3, 3]], [[2, 0]])
    """
    rows = [[ids.get(word, UNKNOWN) for word in _words(text)[:length]] for text in texts]
    return np.array([row + [END] * (length - len(row)) for row in rows], np.int64)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


@register("dataset", "captioned_shapes")
def captioned_shapes(
    seed: int,
    images: Annotated[int, Ge(20)] = 1000,
    size: Annotated[int, Interval(ge=8, le=256)] = 12,
    noise: Annotated[float, Ge(0)] = 0.2,
) -> Mapping[str, Any]:
    """Generated pictures of a disc or a square, each with a caption that says which; the class is
    whether it is right. Half are: neither the image nor the text alone says anything of it.

    Inputs are `image`, of `size` pixels and normal `noise`, and `text`, for the model late_fusion.
    """
    rng = np.random.default_rng(seed)
    shown, said = rng.integers(0, 2, (2, images))
    rows, columns = np.mgrid[:size, :size]
    pictures = rng.normal(scale=noise, size=(images, 1, size, size))
    for picture, shape in zip(pictures[:, 0], shown, strict=True):
        row, column = rng.uniform(size / 3, 2 * size / 3, 2)
        down, right = np.abs(rows - row), np.abs(columns - column)
        distance = np.hypot(down, right) if shape == 0 else np.maximum(down, right)
        picture[distance < size / 3] += 1
    starts = rng.choice(["a", "this is a", "here you see a"], images)
    texts = [f"{start} {SHAPES[each]}" for start, each in zip(starts, said, strict=True)]
    ids = vocabulary(texts, len(texts))
    length = max(len(_words(text)) for text in texts)
    words = InputPart("text", (length,), len(ids) + 2, END)
    parts = InputPart("image", (1, size, size)), words
    return {
        "train": (packed([pictures, ids_of(texts, ids, length)]), (shown == said).astype(int)),
        "classes": ["wrong", "right"],
        "kind": "classification",
        "inputs": parts,
    }

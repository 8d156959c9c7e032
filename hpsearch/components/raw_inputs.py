"""What users have, as the inputs of an exported model: tables, arrays, image files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame


class TableReader(Protocol):
    """Reads the columns of a file as those that were trained on."""

    @property
    def example(self) -> DataFrame:
        """A few rows."""
        ...

    def encode(self, table: DataFrame) -> NDArray[np.float32]:
        """Return rows (rows, ...) as a data set has them."""
        ...


class ImageReader(Protocol):
    """Brings images to the size that was trained on."""

    @property
    def height(self) -> int:
        """Rows of pixels."""
        ...

    @property
    def width(self) -> int:
        """Columns of pixels."""
        ...

    def pixels_of(self, given: Any) -> NDArray[np.uint8]:
        """Return an image (channels, height, width)."""
        ...


@dataclass(frozen=True, eq=False)
class RawInputs:
    """The form of raw inputs: `shape` is an example's, as the data set has it.

    `table` reads the columns of a file, `images` brings image files to the model's size.
    """

    shape: tuple[int, ...]
    channels_last: bool = False
    feature_names: tuple[str, ...] = ()
    table: TableReader | None = None
    images: ImageReader | None = None

    def tensor(self, given: Any) -> Tensor:
        """Return rows as a tensor (rows, *shape), in raw units.

        Takes a DataFrame, an array or a tensor, and of image files paths and Pillow's images too.
        Raises DataError for what has another form.
        """
        if hasattr(given, "columns"):
            return torch.from_numpy(np.array(self._of_table(given)))
        if self.images is not None:
            given = self._of_images(self.images, given)
        rows = (
            given if isinstance(given, Tensor) else torch.from_numpy(np.array(given, np.float32))
        )
        rows = self._with_channels(rows)
        if tuple(rows.shape[1:]) != self.shape:
            rule = f"inputs must have the shape (rows, {', '.join(map(str, self.shape))})"
            raise DataError(f"{rule}, but have {tuple(rows.shape)}")
        return rows.float()

    def _of_table(self, table: DataFrame) -> Any:
        if self.table is not None:
            return self.table.encode(table)
        names = list(map(str, table.columns))
        wanted = list(self.feature_names)
        if wanted and set(wanted) <= set(names):
            table = table.set_axis(names, axis=1)[wanted]
        elif wanted and not set(wanted).isdisjoint(names):
            lacking = [name for name in wanted if name not in names]
            raise DataError(f"the table must have all features, but lacks {', '.join(lacking)}")
        return table.to_numpy(np.float32).reshape(len(table), *self._shape_of(table))

    def _shape_of(self, table: DataFrame) -> tuple[int, ...]:
        """The shape of an example, where the table has a column for each of its values."""
        size = int(np.prod(self.shape))
        if len(table.columns) != size:
            rule = f"the table must have {size} columns, one a feature"
            raise DataError(f"{rule}, but has {len(table.columns)}")
        return self.shape

    def _of_images(self, images: ImageReader, given: Any) -> Any:
        height, width = images.height, images.width
        shape = getattr(given, "shape", None)
        if shape is not None and (height, width) in (tuple(shape[1:3]), tuple(shape[2:4])):
            return given
        return np.stack([images.pixels_of(each) for each in _each(given)])

    def _with_channels(self, rows: Tensor) -> Tensor:
        """Put the channels where the data set has them: last, first, or left out if only one."""
        if tuple(rows.shape[1:]) == self.shape or len(self.shape) < 3:
            return rows
        place = len(self.shape) if self.channels_last else 1
        if rows.ndim == len(self.shape) and self.shape[place - 1] == 1:
            return rows.unsqueeze(place)
        moved = rows.movedim(1, -1) if self.channels_last else rows.movedim(-1, 1)
        return moved if tuple(moved.shape[1:]) == self.shape else rows


def _each(given: Any) -> Sequence[Any]:
    """Return the images of a batch; a path or an image of Pillow's is one."""
    is_one = isinstance(given, str) or hasattr(given, "__fspath__") or hasattr(given, "getexif")
    return [given] if is_one else list(given)

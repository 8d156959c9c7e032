"""Data sets: read, their columns understood, checked, split and standardised into `Data`.

`load_data` is the way in; `factory_output` is the form of what a data factory, a user's own too,
returns. A new data set is a factory in `catalogue`.
"""

from __future__ import annotations

from hpsearch.components.datasets import (
    catalogue,
    damaged,
    echo,
    image_texts,
    images,
    keel,
    masks,
    memory,
    nuclei,
    patterns,
    sequences,
    series,
    streams,
    texts,
    token_ids,
    trees,
    ucr,
    word_pairs,
)
from hpsearch.components.datasets.loading import load_data

__all__ = [
    "catalogue",
    "damaged",
    "echo",
    "image_texts",
    "images",
    "keel",
    "load_data",
    "masks",
    "memory",
    "nuclei",
    "patterns",
    "sequences",
    "series",
    "streams",
    "texts",
    "token_ids",
    "trees",
    "ucr",
    "word_pairs",
]

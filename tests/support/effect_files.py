"""The files that data sets and models read where they are seen at work."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from tests.support.effects import SECTIONS, data_of
from tests.support.images import write_images, write_masks

ROWS = 90


def write_files(folder: Path) -> None:
    """Write tables, arrays, pictures, texts and checkpoints: two of each; and tables in doubt."""
    _write_cells(folder)
    for seed, name in enumerate(("one", "two")):
        rng = np.random.default_rng(seed)
        _write_tables(folder, name, rng)
        _write_arrays(folder / f"{name}.npz", rng)
        _write_pictures(folder / name, rng)
        _write_texts(folder / name, seed)
        _write_series(folder / name, rng)
        write_masks(folder / f"{name} masks", seed=seed)
        write_images(folder / f"{name} images", count=20, size=(6 + seed, 4))
        _write_captions(folder, name, seed)
        _write_ids(folder / f"{name} ids.csv", rng)
        values = {**SECTIONS, "optimizer": {"name": "sgd"}}
        model = Trainer(TrialConfig(seed + 1, 0, 1, values), data_of("wine")).model
        torch.save(model.state_dict(), folder / f"{name}.pt")
        _write_words(folder / name, seed)
        (folder / f"{name}.txt").write_text(f"It is {'higher, höher; ' * (9 + seed)}all. " * 9)


def _write_tables(folder: Path, name: str, rng: Any) -> None:
    table = pd.DataFrame(rng.normal(size=(ROWS, 3)).round(3), columns=["a", "b", "c"])
    table["y"] = np.where(table.a > 0.5, "more", "less")
    table["z"] = np.where(table.b > 0, "höher", "low")
    table["text"], table["said"] = "it is " + table.z, "it was " + table.y
    table["who"], table["day"] = np.arange(ROWS) // 5, rng.permutation(ROWS)
    table.to_csv(folder / f"{name}.csv", index=False)
    table.to_parquet(folder / f"{name}.parquet")
    # the columns text and y are there whether commas or semicolons divide
    rows = [f"no{i % 3},{i % 2},0;yes{i % 4};{i // 2 % 2}" for i in range(ROWS)]
    (folder / "both.csv").write_text("\n".join(["text,y,k;text;y", *rows]))


def _write_cells(folder: Path) -> None:
    """Write tables whose cells are read in one way or another, as keywords say."""
    rows = np.arange(ROWS)
    columns = {
        "point": [f"{i % 7},{i % 4}5" for i in rows],
        "comma": [f"{i % 7 + 1},500" for i in rows],
        "space": [f"{i % 7 + 1} 500" for i in rows],
        "quote": [f"{i % 7 + 1}'500" for i in rows],
        "unknown": np.where(rows % 4 < 2, "?", "-"),
        "iso": [f"2024-{i % 12 + 1:02}-{i % 11 + 1:02}" for i in rows],
        "code": rows % 5,
        "hole": ["" if i % 9 == 8 else "2" if i % 9 < 2 else f"{i % 9 + i // 9}" for i in rows],
        "y": np.where(rows % 3, "more", "less"),
    }
    cells = pd.DataFrame(columns)
    cells.to_csv(folder / "cells.csv", index=False)
    cells.to_parquet(folder / "cells.parquet")
    # the names of its columns are those that columns have without names
    numbered = pd.DataFrame({"0": rows % 7, "1": [f"no{i % 3}" for i in rows], "2": rows % 3})
    numbered.to_csv(folder / "numbered.csv", index=False)


def _write_arrays(path: Path, rng: Any) -> None:
    names = ("x", "x2", "y", "y2", "who")
    arrays = {each: rng.normal(size=(ROWS, 3)) for each in names if each[0] == "x"}
    arrays |= {each: rng.integers(2, size=ROWS) for each in names if each[0] == "y"}
    ids = np.array([[i % 8, 1 + i % 7, 8] for i in range(ROWS)])
    np.savez(path, who=np.arange(ROWS) // 5, ids=ids, **arrays)


def _write_pictures(folder: Path, rng: Any) -> None:
    folder.mkdir()
    for split in ("train", "t10k"):
        pixels = rng.integers(256, size=(ROWS, 4, 4), dtype=np.uint8)
        kinds = np.arange(ROWS, dtype=np.uint8) % 10
        for name, array in ((f"{split}-images-idx3", pixels), (f"{split}-labels-idx1", kinds)):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
            (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes()))


def _write_captions(folder: Path, name: str, seed: int) -> None:
    """Write a table of images and texts, whose columns have what other keywords name too."""
    files = sorted((folder / f"{name} images").rglob("*.png"))
    rows = [
        {
            "image": str(files[i % len(files)].relative_to(folder)),
            "other": str(files[(i + 1) % len(files)].relative_to(folder)),
            "text": f"{'höher' if i % 3 else 'low'} and {'dark' if i % 2 else 'light'}",
            "said": "nothing" if i % 5 else f"all of it {seed}",
            "y": "more" if i % 2 else "less",
            "z": f"kind {i % 3}",
        }
        for i in range(ROWS)
    ]
    pd.DataFrame(rows).to_csv(folder / f"{name} captions.csv", index=False)


def _write_ids(path: Path, rng: Any) -> None:
    """Write a table with two columns of sequences of ids, and two of what may be learned."""
    rows = [rng.integers(7, size=rng.integers(1, 6)) for _ in range(ROWS)]
    columns = {
        "ids": [" ".join(map(str, row)) for row in rows],
        "others": [" ".join(map(str, row[::-1])) for row in rows],
        "y": ["höher" if row[0] > 3 else "low" for row in rows],
        "z": ["odd" if row[-1] % 2 else "even" for row in rows],
    }
    pd.DataFrame(columns).to_csv(path, index=False)


def _write_texts(folder: Path, seed: int) -> None:
    for topic in ("law", "love", "work"):
        texts = [f"{topic} is {'not ' * (i + seed)}all" for i in range(ROWS // 3)]
        (folder / topic).write_text("\n%\n".join(texts))


def _write_series(folder: Path, rng: Any) -> None:
    """Write two sets of labelled series, of two dimensions, as the UCR archive has them."""
    for name in ("Waves", "Ramps"):
        (folder / name).mkdir()
        for split in ("TRAIN", "TEST"):
            rows = [
                ":".join([*(",".join(map(str, each)) for each in row), "up" if i % 2 else "down"])
                for i, row in enumerate(rng.normal(size=(ROWS, 2, 5)).round(3))
            ]
            head = f"# two classes\n@problemName {name}\n@data\n"
            (folder / name / f"{name}_{split}.ts").write_text(head + "\n".join(rows) + "\n")


def _write_words(path: Path, seed: int) -> None:
    """Questions about the words of `topic_words`: a third is known, and a half."""
    analogies = ["topic0_word1 topic0_word2 topic1_word1 topic1_word2"]
    analogies += ["queen king woman man"] * (2 - seed)
    path.with_name(f"{path.name} analogies.txt").write_text("\n".join(analogies))
    pairs = [f"topic0_word{i} topic{i % 2}_word{i + seed + 1} {i}" for i in range(1, 6)]
    path.with_name(f"{path.name} similarities.txt").write_text("\n".join(pairs))

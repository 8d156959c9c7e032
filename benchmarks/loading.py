"""How fast images are read: `python -m benchmarks.loading [--images 5000] [--image-size 64]`.

Writes JPEGs of 320 x 240 pixels, and reads them an epoch at a time in batches of 64: as trials
read `image_folder`, decoded each epoch and from the node's shared memory, and by a DataLoader over
torchvision's ImageFolder with the transforms of its documentation. Each with 0, 1 and 2 processes;
the ratio is to the DataLoader with as many.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hpsearch.components import Data, load_data
from hpsearch.components.vision import torchvision
from hpsearch.provenance import available_cpus
from hpsearch.training.batches import LoadedBatches

WIDTH, HEIGHT, CLASSES, BATCH_SIZE = 320, 240, 10, 64
WORKERS = (0, 1, 2)
CPU = torch.device("cpu")


def write_photos(folder: Path, count: int) -> None:
    """Write JPEGs with the structure of photos: few coarse shapes, and grain."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % CLASSES}"
        place.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 8, (HEIGHT, WIDTH, 1))
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.jpg", quality=90)


def of_ours(folder: Path, size: int, cache: str) -> Data:
    """Return the images as a trial gets them, all in one split."""
    section = {"name": "image_folder", "path": str(folder), "image_size": size, "cache": cache}
    return load_data({**section, "test_fraction": 0.0, "val_fraction": 0.01}, seed=0)


def plain(folder: Path, size: int, workers: int) -> Iterable[Any]:
    """Return a DataLoader as torchvision's documentation has it."""
    v2 = torchvision("the benchmark", "torchvision.transforms.v2")
    steps = [
        v2.PILToTensor(),
        v2.Resize(size, antialias=True),
        v2.CenterCrop(size),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    ]
    images = torchvision("the benchmark").datasets.ImageFolder(folder, v2.Compose(steps))
    return DataLoader(
        images, BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


def rate(read: Callable[[], Iterable[Any]]) -> float:
    """Return the images a second of one epoch."""
    start, count = time.perf_counter(), 0
    for _, y in read():
        count += len(y)
    return count / (time.perf_counter() - start)


def ours(data: Data, workers: int, epochs: int) -> float:
    """Return the images a second of the last of some epochs."""
    batches = LoadedBatches(data.train, CPU, {"num_workers": workers})
    order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(0))
    rates = [rate(lambda: batches.read(BATCH_SIZE, order)) for _ in range(epochs)]
    batches.close()
    return rates[-1]


def measure(folder: Path, size: int) -> None:
    """Print a line of the table for each number of processes."""
    print("processes  DataLoader   decoded  ratio   cached  ratio   (images a second)")
    cached = of_ours(folder, size, "shared_memory")
    first = ours(cached, 0, 1)
    for workers in WORKERS:
        loader = plain(folder, size, workers)
        base = rate(lambda loader=loader: loader)  # type: ignore[misc]
        decoded = ours(of_ours(folder, size, "none"), workers, 1)
        kept = ours(cached, workers, 2)
        ratios = f"{decoded:9,.0f} {decoded / base:6.2f} {kept:8,.0f} {kept / base:6.1f}"
        print(f"{workers:9} {base:11,.0f} {ratios}", flush=True)
    print(f"the epoch that fills the cache, 0 processes: {first:,.0f} images a second")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--image-size", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"$ {' '.join(map(os.path.basename, sys.orig_argv[:1]))} {' '.join(sys.orig_argv[1:])}")
    libraries = ("hpsearch", "torch", "torchvision", "pillow")
    print(
        f"Python {platform.python_version()}, " + ", ".join(f"{n} {version(n)}" for n in libraries)
    )
    print(f"{platform.platform()}, {platform.machine()}, {available_cpus()} CPUs")
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), arguments.images)
        size = f"{WIDTH}x{HEIGHT} to {arguments.image_size}x{arguments.image_size}"
        print(f"{arguments.images} JPEGs, {size}, batches of {BATCH_SIZE}")
        measure(Path(folder), arguments.image_size)


if __name__ == "__main__":
    main()

"""The image files below a folder: their classes, and the splits that folders make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpsearch.components.tasks.kinds import listed
from hpsearch.errors import DataError, nearest_names

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
#: names of the folders of splits
SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}


@dataclass
class Found:
    """Image files by split, each with its class's number; `others` are no images."""

    classes: tuple[str, ...] = ()
    files: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def find_images(folder: Path) -> Found:
    """Return the images below a folder, in the order of their names.

    With a folder `train` in it, folders are splits, and their folders classes.
    """
    if not folder.is_dir():
        rule = f"must be a folder (from the spec's folder), but got {folder}"
        raise DataError(rule, keyword="path")
    splits = _split_folders(folder)
    found = Found(_classes(splits["train"]))
    for split, place in splits.items():
        known = _classes(place) if split != "train" else found.classes
        _check_known(known, found.classes, place)
        found.files[split] = [
            (path, number)
            for number, name in enumerate(found.classes)
            for path in _images(place / name, found)
        ]
    _check_complete(found, splits)
    return found


def _split_folders(folder: Path) -> dict[str, Path]:
    splits = {
        split: folder / name
        for split, names in SPLIT_FOLDERS.items()
        for name in names
        if (folder / name).is_dir()
    }
    return splits if "train" in splits else {"train": folder}


def left_out(others: Sequence[str]) -> list[str]:
    """Return the warning about files that are no images, if there are any."""
    if not others:
        return []
    many = f"{len(others)} files are" if len(others) > 1 else "a file is"
    return [f"{many} no image, and left out: {listed(others)}"]


def _classes(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(each.name for each in folder.iterdir() if _is_class(each)))


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))


def _images(folder: Path, found: Found) -> Sequence[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    visible = [path for path in files if not path.name.startswith(".")]
    found.others += [str(path) for path in visible if path.suffix.lower() not in SUFFIXES]
    return [str(path) for path in visible if path.suffix.lower() in SUFFIXES]


def _check_known(names: Sequence[str], classes: Sequence[str], place: Path) -> None:
    for name in names:
        if name not in classes:
            rule = f"classes of {place} must be classes of train ({listed(classes)})"
            near = nearest_names(name, classes)
            raise DataError(rule, name, keyword="path", nearest=near)


def _check_complete(found: Found, splits: Mapping[str, Path]) -> None:
    if len(found.classes) < 2:
        rule = f"must hold a folder for each of two classes or more, but {splits['train']} has"
        raise DataError(f"{rule} {listed(found.classes) or 'none'}", keyword="path")
    for split, files in found.files.items():
        numbers = {number for _, number in files}
        empty = [name for i, name in enumerate(found.classes) if i not in numbers]
        if empty and (split == "train" or not files):
            rule = (
                f"every class must have images ({', '.join(SUFFIXES[:3])} …), but {listed(empty)}"
            )
            raise DataError(f"{rule} of {splits[split]} has none", keyword="path")

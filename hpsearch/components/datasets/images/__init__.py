"""Data sets of image files: found by folder, decoded when needed, kept in shared memory."""

from __future__ import annotations

from hpsearch.components.datasets.images import image_folder

__all__ = ["image_folder"]

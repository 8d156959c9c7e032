"""Data sets of image files: found by folder, decoded when they are needed, shared by a node.

`image_folder` is the component; `folders` finds files and classes, `files` decodes them,
`shared_pixels` keeps what is decoded.
"""

from __future__ import annotations

from hpsearch.components.datasets.images import image_folder

__all__ = ["image_folder"]

"""What the long tests share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_cluster import local_cluster


@pytest.fixture
def cluster_folder() -> Iterator[Path]:
    """Folder of a cluster that is up."""
    # PostgreSQL runs as another user, who must come into it.
    parent = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))
    parent.chmod(0o711)
    try:
        local_cluster("up", parent / "cluster")
        yield parent / "cluster"
    finally:
        local_cluster("down", parent / "cluster")
        shutil.rmtree(parent)

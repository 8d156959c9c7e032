"""The folders of a trial's command."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hpsearch.training.checkpoints import FILES_LOG


@dataclass(frozen=True)
class TrialFolders:
    """Where a trial's files are: its checkpoints, kept while it is, and its other outputs."""

    checkpoints: Path
    outputs: Path

    @property
    def log(self) -> Path:
        """The file of what the script reported, which lives as long as its checkpoints."""
        return self.checkpoints.with_name(FILES_LOG)

    @classmethod
    def temporary(cls) -> TrialFolders:
        """Return folders that nobody keeps."""
        folder = Path(tempfile.mkdtemp(prefix="hpsearch-trial-"))
        return cls(folder / "checkpoints", folder / "outputs")

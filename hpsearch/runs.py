"""The runs folder: where searches, MLflow's store and everything else of a user are kept.

runs/
├── mlflow.db, mlartifacts/     MLflow's store, shared by all searches
└── NAME/                       one search
    ├── spec.yaml               as resolved
    ├── record.journal          its record
    ├── checkpoints/            of running trials and of the best
    ├── report.md, report.html
    └── ray/                    Ray Tune's own files, derived
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hpsearch.errors import RunsError, SearchExistsError, SearchNotFoundError, nearest_names
from hpsearch.record import Record
from hpsearch.spec import SearchSpec


@dataclass(frozen=True)
class SearchFolder:
    """The files of one search."""

    path: Path

    @property
    def name(self) -> str:
        """The search's name."""
        return self.path.name

    @property
    def spec(self) -> Path:
        """The spec as resolved."""
        return self.path / "spec.yaml"

    @property
    def journal(self) -> Path:
        """The record."""
        return self.path / "record.journal"

    @property
    def checkpoints(self) -> Path:
        """Where trials write their checkpoints."""
        return self.path / "checkpoints"

    @property
    def report_md(self) -> Path:
        """The report as Markdown."""
        return self.path / "report.md"

    @property
    def report_html(self) -> Path:
        """The report as one self-contained page."""
        return self.path / "report.html"

    @property
    def ray(self) -> Path:
        """Ray Tune's own files."""
        return self.path / "ray"

    def open_record(self) -> Record:
        """Read the record."""
        return Record.open(self.journal, self.name)


class Runs:
    """A runs folder."""

    def __init__(self, path: str | Path = "runs") -> None:
        self.path = Path(path).absolute()

    @property
    def tracking_uri(self) -> str:
        """URI of MLflow's store."""
        return f"sqlite:///{self.path / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Folder of MLflow's artifacts."""
        return self.path / "mlartifacts"

    def names(self) -> list[str]:
        """Return the names of the searches, oldest first."""
        journals = sorted(
            self.path.glob("*/record.journal"), key=lambda path: path.stat().st_ctime
        )
        return [journal.parent.name for journal in journals]

    def search(self, name: str) -> SearchFolder:
        """Return the folder of a search that is there."""
        folder = SearchFolder(self.path / name)
        if not folder.journal.is_file():
            known = self.names()
            hint = " or ".join(nearest_names(name, known)) or ", ".join(known) or "none yet"
            raise SearchNotFoundError(f"no search {name!r} in {self.path}; there are: {hint}")
        return folder

    def check_new(self, name: str) -> None:
        """Raise unless a new search of this name could be kept here; nothing is changed."""
        if (self.path / name).exists():
            raise SearchExistsError(
                f"{self.path / name} exists: choose another name (--name), or remove it"
            )
        existing = next(path for path in (self.path, *self.path.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise RunsError(
                f"{self.path}: must be a folder that can be written ({existing} can't)"
            )

    def create(self, spec: SearchSpec) -> SearchFolder:
        """Make the folder of a new search and write its spec there."""
        self.check_new(spec.name)
        folder = SearchFolder(self.path / spec.name)
        try:
            folder.checkpoints.mkdir(parents=True)
            folder.spec.write_text(spec.to_yaml())
        except OSError as error:
            raise RunsError(f"{folder.path}: can't be written: {error.strerror}") from error
        return folder

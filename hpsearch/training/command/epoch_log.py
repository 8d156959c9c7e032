"""The epochs that a script reported, in a file beside its checkpoints, which a restart reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LoggedEpoch:
    """An epoch's metrics; `from_zero` is whether the script counts its epochs from 0."""

    metrics: Mapping[str, float]
    from_zero: bool | None


@dataclass(frozen=True)
class EpochLog:
    """JSON lines, one an epoch, in order."""

    path: Path

    def append(self, epochs: Iterable[Mapping[str, float]], from_zero: bool | None) -> None:
        """Write epochs; the script waits meanwhile, so its next checkpoint is newer."""
        lines = [json.dumps({"metrics": each, "from_zero": from_zero}) for each in epochs]
        with self.path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def read(self) -> list[LoggedEpoch]:
        """Return what was written, without the last line if a kill cut it off."""
        if not self.path.exists():
            return []
        whole, _, rest = self.path.read_text().rpartition("\n")
        if rest:  # what is appended must not continue it
            self.path.write_text(f"{whole}\n" if whole else "")
        return [LoggedEpoch(**json.loads(line)) for line in whole.splitlines()]

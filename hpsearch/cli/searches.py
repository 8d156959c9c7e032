"""What the commands do with searches, wherever these are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import RenderableType

if TYPE_CHECKING:
    from hpsearch.analysis.diagnosis import Diagnosis


@dataclass(frozen=True)
class Budget:
    """What a search gets more of."""

    trials: int = 0
    epochs: int = 0
    seconds: float = 0.0
    num_bytes: int = 0


@dataclass(frozen=True)
class Code:
    """Where a search's code is from now on, and whether it may be another than before."""

    folder: Path | None = None
    changed: bool = False


@dataclass(frozen=True)
class Listed:
    """A search in a list. `summary` has numbers that `docs/commands.md` lists."""

    name: str
    state: str
    summary: dict[str, Any]
    owner: str = ""
    note: str = ""


class Searches(Protocol):
    """What the commands do with searches; one implementation for folders, one for services."""

    def list(self, mine: bool) -> Sequence[Listed]:
        """Return the searches."""

    def find(self, name: str) -> Listed:
        """Return one of them."""

    def submit(
        self, spec: Path, overrides: Sequence[str], working_dir: Path | None, priority: int
    ) -> str:
        """Start a search without waiting for it, and return its name."""

    def status(self, name: str) -> RenderableType:
        """Return how far a search is."""

    def exit_status(self, name: str) -> int:
        """Return the status with which a command that followed a search ends."""

    def logs(self, name: str, trial: int | None, follow: bool) -> Iterator[str]:
        """Yield what a search's driver printed, or what is known of a trial."""

    def stop(self, name: str) -> str:
        """Stop a search, and return what to say."""

    def resume(self, name: str, address: str | None, code: Code) -> str:
        """Go on with a search, and return what to say."""

    def resume_in_background(self, name: str) -> None:
        """Go on with a search without waiting for it."""

    def extend(self, name: str, budget: Budget, address: str | None, code: Code) -> str:
        """Go on with more budget, and return what to say."""

    def act(self, name: str, action: str, **what: Any) -> dict[str, Any]:
        """Act on a running search, and return the act as plain values."""

    def acts(self, name: str) -> Sequence[dict[str, Any]]:
        """Return what users did to a search, oldest first."""

    def delete(self, name: str) -> None:
        """Remove a search and its files."""

    def reached(self, name: str, targets: Sequence[float]) -> Sequence[dict[str, Any]]:
        """Return when the search first came to each target, named as the fields of Reached."""

    def report(self, name: str, targets: Sequence[float]) -> tuple[str, str]:
        """Return the report as Markdown, with times to targets, and where else it is."""

    def explain(self, name: str, trial: int | None) -> Mapping[int, Sequence[Diagnosis]]:
        """Return what curves say, by the trial's number; of one trial only, if it is given."""

    def spec(self, name: str) -> str:
        """Return a search's spec as it was resolved, as YAML."""

    def best(self, name: str) -> dict[str, Any]:
        """Return the best configuration; `spec` is it as YAML."""

    def repeat(self, name: str, seeds: int, address: str | None, code: Code) -> str:
        """Train the best configuration again with new seeds, and return what to say."""

    def next_spec(self, name: str, new_name: str) -> dict[str, Any]:
        """Return the `spec` of the next search, and the `changes` in what it searches."""

    def download(self, name: str, folder: Path, ensemble: bool = False) -> Path:
        """Write the best trial's checkpoint into a folder, or those of the ensemble's trials, and
        return its path."""

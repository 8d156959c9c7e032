"""What a search in one call returns: its report, with the best model at hand."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.analysis import SearchReport
from hpsearch.code_snapshot import read_snapshot
from hpsearch.errors import HpsearchError
from hpsearch.formatting import show, show_count
from hpsearch.record import Record, TrialRecord
from hpsearch.runs import Runs

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(repr=False)
class BestTrial(TrialRecord):
    """The best trial, and what is kept of it."""

    result: SearchResult = field(kw_only=True, repr=False)

    def __repr__(self) -> str:
        metric = self.result.record.spec.objective.metric
        value = "no value" if (last := self.last(metric)) is None else show(last)
        epochs = show_count(self.epochs, "epoch")
        return f"<BestTrial {self.number}: {metric} {value} after {epochs}, {self.params}>"

    def load_model(self) -> nn.Module:
        """Return the registered model, on raw inputs, in evaluation mode.

        Raises HpsearchError for trials of code of one's own, whose model hpsearch doesn't know.
        """
        return self.result.load_model()

    def load_checkpoint(self, device: torch.device | str = "cpu") -> Any:
        """Return what a training function saved last; for a model's trial its state.

        Raises HpsearchError where the trial saved nothing.
        """
        from hpsearch.training.checkpoints import load_checkpoint
        from hpsearch.training.user_code.saved import load_saved

        if self.result.record.spec.trainable is not None:
            return load_saved(self.checkpoint_path, device)
        return load_checkpoint(self.checkpoint_path, device)["trainer"]

    @property
    def checkpoint_path(self) -> Path:
        """The file of the checkpoint."""
        if self.checkpoint is None:
            raise HpsearchError(f"trial {self.number} has no checkpoint")
        return self.result.folder.checkpoints / self.checkpoint


class SearchResult(SearchReport):
    """The report of a search, and its best model."""

    def __init__(self, record: Record, runs: Runs) -> None:
        super().__init__(record)
        self._runs = runs
        self.folder = runs.search(record.name)

    @property
    def best(self) -> BestTrial | None:
        """The best of the completed trials."""
        best = super().best
        if best is None:
            return None
        return BestTrial(**{f.name: getattr(best, f.name) for f in fields(best)}, result=self)

    def load_model(self, *, ensemble: bool = False) -> nn.Module:
        """See BestTrial; with `ensemble` the mean of the best trials (`search.ensemble`) instead.

        Raises HpsearchError where there is none.
        """
        from hpsearch.tracking.models import ALIAS, ENSEMBLE, load_registered

        if self.record.spec.is_own_code:
            rule = "has no registered model: its training is your own code; see load_checkpoint()"
            raise HpsearchError(f"{self.name}: {rule}")
        if self.best is None:
            from hpsearch.analysis.next_steps import no_best

            raise HpsearchError(f"{self.name}: {no_best(self.record)}")
        if ensemble and self.ensemble is None:
            raise HpsearchError(f"{self.name} {self.record.no_ensemble()}")
        uri, _ = self._runs.tracking_of(self.record.spec)
        with self._trained_code():
            return load_registered(self.name, uri, ENSEMBLE if ensemble else ALIAS)

    def _trained_code(self) -> AbstractContextManager[None]:
        """Have no other code of the user's than that which was trained, if there is a copy."""
        copy, folder = self.record.code_folder, Path(self.record.spec.folder)
        return (
            read_snapshot(copy, folder).imported()
            if copy is not None and copy.is_dir()
            else nullcontext()
        )

    def predict(self, x: Any, *, ensemble: bool = False) -> Any:
        """Return the best model's predictions for a DataFrame, an array or image files: classes by
        name (rows,), labels as 0 and 1 (rows, labels) or numbers (rows, targets).

        `load_model().predict_table(x)` returns probabilities too. With `ensemble` they are those
        of the mean of the best trials.
        """
        model: Any = self.load_model(ensemble=ensemble)
        table = model.predict_table(x)
        if model.kind == "classification":
            return table["prediction"].to_numpy()
        names = [name for name in table if not name.startswith(("probability_", "score_"))]
        return table[names].to_numpy()


def open_search(name: str, runs: str | Path = "runs") -> SearchResult:
    """Return the result of a search that is in a runs folder, as far as it is.

    Raises SearchNotFoundError where it isn't there.
    """
    place = Runs(Path(runs))
    return SearchResult(place.search(name).open_record(), place)

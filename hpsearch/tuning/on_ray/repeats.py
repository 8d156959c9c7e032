"""Trains the best configurations again with new seeds, and scores them on the test split."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from hpsearch.components import Data
from hpsearch.early_stopping import make_early_stopper
from hpsearch.record import Record, SearchState
from hpsearch.runs import SearchFolder
from hpsearch.training.launchers import exports_model
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.on_ray.experiment import Workers, run_trials
from hpsearch.tuning.on_ray.final import Trained, test_scores
from hpsearch.tuning.repeats import TEST, open_repeats, results_of
from hpsearch.tuning.retention import Retention
from hpsearch.tuning.signals import cancelled_by_signals

Watcher = Callable[[Record, SearchFolder], None]


def train_repeats(
    record: Record,
    folder: SearchFolder,
    data: Data | None,
    workers: Workers,
    on_start: Watcher | None = None,
) -> tuple[SearchState, str | None]:
    """Train what `record.final` names, note the ranking; returns how the search ends, and why.

    `on_start` is called with the record of the repeats.
    """
    final = record.final
    assert final is not None
    repeats, sampler = open_repeats(record, final, folder)
    if on_start is not None:
        on_start(repeats, folder.final)
    stopper = make_early_stopper(repeats.spec)
    control = SearchControl(
        repeats, sampler, stopper, folder.final.checkpoints, folder.stop_request
    )
    with cancelled_by_signals(control):
        run_trials(control, workers, data, folder.final)
    control.close()
    if repeats.state == "stopped":
        return "stopped", repeats.reason
    if data is not None:
        _score(repeats, folder.final, data)
    record.set_final(results_of(record, final, repeats))
    for path in (folder.final.checkpoints, folder.final.ray):
        shutil.rmtree(path, ignore_errors=True)
    Retention(record, folder.checkpoints)  # which lets go of the finalists' but for the best
    return "finished", final.reason


def _score(repeats: Record, folder: SearchFolder, data: Data) -> None:
    """Write the metrics of each repeat on the test split, those that are missing."""
    if data.test is None:
        return
    for trial in repeats.kept():
        config, scored = repeats.config(trial), repeats.result.get(TEST, {})
        if trial.checkpoint is None or str(trial.number) in scored:
            continue
        if exports_model(config, data):
            trained = Trained(config, folder.checkpoints / trial.checkpoint)
            found = test_scores(trained, data, repeats.spec.resources)
            repeats.set_result(**{TEST: {**scored, str(trial.number): found}})

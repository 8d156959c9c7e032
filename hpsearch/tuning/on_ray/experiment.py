"""One Ray Tune experiment: the trials of a search on a Ray cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from ray import tune
from ray.air._internal import usage
from ray.tune.experiment import Trial

from hpsearch.components import Data
from hpsearch.process import environment
from hpsearch.runs import SearchFolder
from hpsearch.spec import TrialConfig
from hpsearch.tuning.control import STOP_INTERVAL_S, SearchControl
from hpsearch.tuning.fusing import num_programs
from hpsearch.tuning.lane_pool import LanePool
from hpsearch.tuning.on_ray.actor import TrialActor
from hpsearch.tuning.on_ray.lane_actor import LaneActor
from hpsearch.tuning.on_ray.lanes import LaneCallback, LaneScheduler, LaneSearcher
from hpsearch.tuning.on_ray.searcher import (
    AttemptCallback,
    BudgetStopper,
    RecordScheduler,
    StudySearcher,
    trial_number,
)
from hpsearch.tuning.on_ray.shipping import ShippedData
from hpsearch.tuning.trial_errors import UsedWorkerError

#: trials of one Tune experiment
GENERATION_TRIALS = 1000


@dataclass(frozen=True)
class Workers:
    """What trains trials: so many workers at once, each up to so many trials."""

    slots: int
    num_lanes: int = 1


def run_trials(
    control: SearchControl, workers: Workers, data: Data | None, folder: SearchFolder
) -> None:
    """Run the trials of a search until its budget is used or it is stopped.

    In generations, each an experiment of its own: what Tune holds and writes grows with the
    trials of an experiment, and while the search is paused nothing holds its resources.
    """
    spec, copy = control.record.spec, control.record.code_copy
    parameters: dict[str, Any] = {
        "data": ShippedData(data, spec.to_dict().get("dataset"), spec.folder, copy),
        "checkpoints": str(folder.checkpoints),
        "outputs": str(folder.outputs),
    }
    actor: type[tune.Trainable] = TrialActor
    if workers.num_lanes > 1:
        num_models = num_programs(spec.model) if spec.fuse == "auto" else None
        parameters |= {"num_lanes": workers.num_lanes, "num_programs": num_models}
        actor = LaneActor
    trainable = tune.with_parameters(actor, **parameters)
    strategy = "STRICT_SPREAD" if spec.resources.is_spread else "PACK"
    trainable = tune.with_resources(trainable, partial(_resources, strategy))
    slots = {"TUNE_MAX_PENDING_TRIALS_PG": str(workers.slots)}
    with environment(slots), _no_word_of_used_workers(), no_usage_of_callbacks():
        while not control.is_over:
            if control.begin():
                _run_generation(control, trainable, workers, folder)
            elif not control.should_stop_all():
                time.sleep(STOP_INTERVAL_S)  # a user has paused it, and it holds no worker


@contextmanager
def _no_word_of_used_workers() -> Iterator[None]:
    """Drop what Tune logs of a trial that needs a fresh worker, which is no error."""

    def is_error(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], UsedWorkerError))

    logger = logging.getLogger("ray.tune.execution.tune_controller")
    logger.addFilter(is_error)
    try:
        yield
    finally:
        logger.removeFilter(is_error)


@contextmanager
def no_usage_of_callbacks() -> Iterator[None]:
    """Keep Tune from counting callbacks, for which it imports all that Ray has, MLflow's too: a
    second on the cores where the workers start."""
    count = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = count


def _run_generation(
    control: SearchControl, trainable: Any, workers: Workers, folder: SearchFolder
) -> None:
    searcher, scheduler, callback = _adapters(control, workers)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            num_samples=GENERATION_TRIALS,
            search_alg=searcher,
            scheduler=scheduler,
            reuse_actors=control.record.spec.resources.reuse == "auto",
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=f"generation-{time.time_ns()}",
            storage_path=str(folder.ray),
            stop=BudgetStopper(control),
            callbacks=[callback],
            progress_reporter=_NoProgress(),
            # actors write their own checkpoints, which the record knows
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=-1),  # only lost workers count
            verbose=0,
        ),
    )
    tuner.fit()


def _adapters(
    control: SearchControl, workers: Workers
) -> tuple[StudySearcher, RecordScheduler, AttemptCallback]:
    slots = workers.slots
    if workers.num_lanes == 1:
        searcher = StudySearcher(control, slots, GENERATION_TRIALS)
        return searcher, RecordScheduler(control), AttemptCallback(control)
    spec = control.record.spec
    pool = LanePool(
        control, workers.num_lanes, spec.search.max_concurrent, measured=spec.fuse == "auto"
    )
    return (
        LaneSearcher(control, slots, GENERATION_TRIALS, pool),
        LaneScheduler(control, pool),
        LaneCallback(control, pool),
    )


class _NoProgress(tune.ProgressReporter):
    """Shows nothing: in a notebook Tune's own reporter clears what the cell has shown."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Nothing to report."""


def _resources(strategy: str, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    trial: TrialConfig = config["trial"]
    node = {"CPU": trial.cpu, "GPU": trial.gpu}
    return tune.PlacementGroupFactory([node] * trial.nodes, strategy=strategy)


def _trial_name(trial: Trial) -> str:
    # A trial that was paused continues as another of Tune's trials.
    return f"trial-{trial_number(trial):04d}-{trial.trial_id}"

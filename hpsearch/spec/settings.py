"""How a search goes, as frozen models: objective, budgets, sampler, early stopping, resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from hpsearch.errors import Problem
from hpsearch.registry import ComponentOf
from hpsearch.spec.names import ObjectiveName
from hpsearch.spec.stopping import MAX_EPOCHS, EarlyStopping, EarlyStoppingRule
from hpsearch.spec.trees import Frozen, named, rule_of
from hpsearch.spec.units import Duration, Size

#: far beyond any search; what is larger is a mistake, and would fill memory
MAX_TRIALS = 1_000_000
MAX_RETRIES = 1_000
#: of an ensemble, whose members are in memory together
MAX_MEMBERS = 100
#: a search's trials for each that is trained at the same time, with `fuse: auto`: a sampler learns
#: from others
TRIALS_PER_LANE = 4
Direction = Literal["maximize", "minimize"]
#: the settings of a search that `extend` raises
BUDGETS = ("trials", "epochs", "time_limit", "disk_quota")
#: samplers whose trials copy each other, which takes the place of early stopping
POPULATION_BASED = ("pbt", "pb2")


def sign_of(direction: str) -> float:
    """Return what makes an objective a score, of which more is better."""
    return 1.0 if direction == "maximize" else -1.0


class Objective(Frozen):
    """The metric that the search optimises."""

    metric: ObjectiveName = Field(
        description="a metric that every epoch reports, such as val_accuracy"
    )
    direction: Direction = Field(
        "maximize", description="whether a higher or a lower metric is better"
    )


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


#: of `warm_start`: all searches that are alike, and the portfolio that comes with hpsearch
ALL_ALIKE = ("auto",)
PORTFOLIO = "portfolio"
_SEARCHES = {
    "anyOf": [
        {"enum": [*ALL_ALIKE, PORTFOLIO]},
        {"type": "array", "items": {"type": "string"}},
    ]
}


def _searches(value: object) -> object:
    return (value,) if value in (*ALL_ALIKE, PORTFOLIO) else _as_tuple(value)


class StopWhen(Frozen):
    """When further trials aren't worth their budget."""

    improvement_below: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="improvement of the objective by the rest of the budget that isn't worth it",
    )
    probability: float = Field(
        0.95, gt=0.5, lt=1, description="of a smaller improvement, at which the search ends"
    )


class Final(Frozen):
    """The best configurations, trained again with new seeds after the search."""

    top: int = Field(1, ge=1, le=1_000, description="how many configurations, the best first")
    seeds: int = Field(5, ge=1, le=1_000, description="of each; beside the search's own")


class TrialEnsemble(Frozen):
    """The best trials as one model, whose predictions are the means of theirs."""

    top: int = Field(5, ge=2, le=MAX_MEMBERS, description="how many trials, the best ones")
    selection: Literal["best", "greedy"] = Field(
        "best",
        description="best: all of them count alike; greedy: those of them, some several times, "
        "whose mean is best on validation (Caruana et al., 2004)",
    )


class SearchSettings(Frozen):
    """How the search goes: its budget, its seed, its sampler and its early stopping."""

    trials: int = Field(32, ge=1, le=MAX_TRIALS, description="configurations to try")
    epochs: int | None = Field(
        None, ge=1, le=MAX_TRIALS * MAX_EPOCHS, description="total epochs of all trials"
    )
    time_limit: Duration | None = Field(None, description="seconds, or a text such as 30m or 2h")
    gpu_hours: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="total GPU-hours of all trials",
    )
    trial_time_limit: Duration | None = Field(
        None, description="maximum seconds of an attempt of a trial"
    )
    lr: Literal["auto"] | None = Field(
        None,
        description="auto: the range of the learning rate is narrowed by range tests, before the "
        "first trial",
    )
    recipe: Literal["disciplined"] | None = Field(
        None,
        description="disciplined: range test, one cycle at the rate that it finds, then momentum "
        "and weight decay, each by an early comparison (Smith, 2018); what you give stays",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the sampler and of every trial")
    sampler: Annotated[dict[str, Any], BeforeValidator(named), ComponentOf("sampler")] = Field(
        {"name": "auto"}, description="how configurations are chosen"
    )
    early_stopping: EarlyStoppingRule = Field(
        EarlyStopping(), description="which trials are stopped before their full budget"
    )
    max_concurrent: int | None = Field(
        None, ge=1, le=MAX_TRIALS, description="default: what resources allow"
    )
    stop_after_failures: int = Field(
        5,
        ge=1,
        le=MAX_TRIALS,
        description="stop the search when the last trials, this many, all fail alike",
    )
    dry_epoch: bool = Field(
        True,
        description="whether a failure of your own code before any trial has reported the "
        "objective ends the search and costs no trial",
    )
    stop_when: StopWhen | None = Field(
        None, description="end the search when its forecast says that more trials bring little"
    )
    final: Final | None = Field(
        None,
        description="train the best configurations again with new seeds and rank them by the mean",
    )
    ensemble: TrialEnsemble | None = Field(
        None,
        description="score and register the mean of the best trials too, beside the best one",
    )
    points: Annotated[tuple[dict[str, Any], ...], BeforeValidator(_as_tuple)] = Field(
        (), description="configurations to try first: hyperparameters by name, the rest is sampled"
    )
    warm_start: Annotated[
        tuple[str, ...], BeforeValidator(_searches), WithJsonSchema(_SEARCHES)
    ] = Field(
        (),
        description="earlier searches in the runs folder to learn from; portfolio: settings of "
        "SGD that did well on other data; auto: all searches with the same model and "
        "hyperparameters, the portfolio where there are none",
    )
    max_retries: int = Field(
        0, ge=0, le=MAX_RETRIES, description="retries of a trial after an exception in its code"
    )
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        le=MAX_EPOCHS,
        description="epochs; default: every 30 s of training, and at the end",
    )
    keep_checkpoints: int = Field(1, ge=1, le=MAX_TRIALS, description="of the best trials")
    disk_quota: Size | None = Field(
        None, description="bytes that checkpoints may take, or a text such as 20GB"
    )

    @model_validator(mode="before")
    @classmethod
    def _stop_no_member(cls, raw: Any) -> Any:
        """Let a population train in full, unless the spec names a rule."""
        if not isinstance(raw, Mapping) or not is_population(named(raw.get("sampler"))):
            return raw
        rule = named(raw.get("early_stopping", {}))
        if not isinstance(rule, Mapping):  # reported as its shape is checked
            return raw
        return {**raw, "early_stopping": {"name": "none", **rule}}

    @property
    def is_population(self) -> bool:
        """Whether trials copy each other."""
        return is_population(self.sampler)

    @property
    def earlier_searches(self) -> tuple[str, ...]:
        """The searches that `warm_start` names."""
        return tuple(name for name in self.warm_start if name != PORTFOLIO)


def is_population(sampler: object) -> bool:
    """Whether the sampler that settings name has trials copy each other."""
    return isinstance(sampler, Mapping) and sampler.get("name") in POPULATION_BASED


def limit_problems(search: SearchSettings) -> list[Problem]:
    """Return what is out of bounds in settings that were changed after they were checked."""
    try:
        SearchSettings.model_validate(search.model_dump())
    except ValidationError as error:
        return [
            Problem(
                ".".join(map(str, ("search", *each["loc"]))), rule_of(each["msg"]), each["input"]
            )
            for each in error.errors()
        ]
    return []


class Loader(Frozen):
    """How a data set that isn't in memory is read; no setting changes what is read."""

    num_workers: int = Field(
        0, ge=0, le=256, description="processes of a trial that read; 0 reads in the trial's own"
    )
    prefetch_factor: int = Field(
        2, ge=1, le=1_000, description="batches that each of them reads in advance"
    )
    persistent_workers: bool = Field(True, description="whether they stay from epoch to epoch")
    pin_memory: bool | None = Field(
        None, description="whether batches for a GPU wait in pinned memory; default: yes"
    )


class Resources(Frozen):
    """What one trial asks of the cluster; a fraction of a GPU is shared with other trials."""

    cpu: int = Field(1, ge=1, le=10_000, description="cores of a trial, on each of its nodes")
    gpu: float = Field(
        0.0,
        ge=0.0,
        le=1_000.0,
        description="GPUs of a trial, on each of its nodes, or a fraction of one",
    )
    reuse: Literal["auto", "never"] = Field(
        "auto",
        description="whether a trial's process may train others after it: auto, or never; "
        "what your modules hold is kept between such trials",
    )
    launcher: Literal["torchrun", "accelerate"] | None = Field(
        None,
        description="starts a trial's command or training function as several processes",
    )
    processes: int | None = Field(
        None,
        ge=1,
        le=1_000,
        description="processes that `launcher` starts on each node; default: one a GPU",
    )
    nodes: int = Field(
        1, ge=1, le=1_000, description="nodes of a trial; `launcher` starts processes on each"
    )
    placement: Literal["pack", "spread"] | None = Field(
        None,
        description="where the nodes of a trial are: `spread` (the default), each on a machine "
        "of its own, or `pack`, on as few machines as have room",
    )

    @property
    def num_processes(self) -> int:
        """Processes of a trial on each of its nodes."""
        return self.processes or max(1, int(self.gpu)) if self.launcher else 1

    @property
    def is_spread(self) -> bool:
        """Whether each node of a trial must be another machine."""
        return self.nodes > 1 and self.placement != "pack"

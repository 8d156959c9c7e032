"""What a report says and in which order, before it is Markdown or HTML."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from hpsearch.analysis.blocks import Code, Section, Table, as_rows
from hpsearch.analysis.ensemble import ensemble_section
from hpsearch.analysis.importance import Importances
from hpsearch.analysis.lr_range_report import lr_range_section
from hpsearch.analysis.narrowing import next_section
from hpsearch.analysis.next_steps import next_steps
from hpsearch.analysis.objectives import goal
from hpsearch.analysis.population import population_section
from hpsearch.analysis.progress import summary
from hpsearch.analysis.recipe import recipe_section
from hpsearch.analysis.response import Response
from hpsearch.analysis.response_sections import hyperparameters, interactions_found
from hpsearch.analysis.result_sections import (
    baselines_beside,
    best_configuration,
    calibration_effect,
    data_read,
    new_seeds,
    shared_programs,
    warm_start,
)
from hpsearch.analysis.speed import time_to_target
from hpsearch.analysis.trade_offs import constraints_section, pareto_section
from hpsearch.analysis.trial_sections import (
    acts_of_users,
    curves_diagnosed,
    early_stopping,
    failures_by_reason,
    leaderboard,
    trials_by_outcome,
    warnings_of_checks,
)
from hpsearch.formatting import show_count, show_seconds
from hpsearch.record import Record
from hpsearch.spec import Choices, Tree, advice

_STATES = {
    "running": "has been running for",
    "finished": "finished after",
    "stopped": "was stopped after",
    "failed": "failed after",
}


def introduction(record: Record) -> str:
    """Say what was searched, in a few sentences."""
    spec, progress = record.spec, summary(record)
    stopping = spec.search.early_stopping
    own = spec.trainable or (spec.command and shlex.join(spec.command.run))
    what = f"`{own}`" if own else _model_and_data(record)
    reason = f" ({record.reason})" if record.reason else ""
    extra = f" ({progress.extra} of them beside the budget)" if progress.extra else ""
    return (
        f"The search {_STATES[record.state]} {show_seconds(progress.seconds_used)}{reason}: "
        f"{show_count(len(record.trials), 'trial')} of {progress.planned} planned{extra}, of "
        f"{what}. "
        f"It {goal(spec)} over "
        f"{show_count(len(record.space.parameters), 'hyperparameter')} with the sampler "
        f"`{spec.search.sampler['name']}` (seed {spec.search.seed}), at most "
        f"{show_count(spec.max_epochs, 'epoch')} a trial, early stopping `{stopping.name}`."
        f"{''.join(f' Warning: {each}' for each in advice(spec))}"
    )


def sections(
    record: Record, importances: Importances, response: Response, targets: Sequence[float] = ()
) -> list[Section]:
    """Return the parts of a report after its introduction."""
    found = findings(record, importances, response, targets)
    return [*found, *next_section(record), _next(record), *facts(record)]


def findings(
    record: Record, importances: Importances, response: Response, targets: Sequence[float] = ()
) -> list[Section]:
    """Return what a search found, how soon it came to `targets`, and what went wrong."""
    progress = summary(record)
    failed = failures_by_reason(record)
    return [
        best_configuration(record, progress),
        *pareto_section(record),
        *constraints_section(record),
        *population_section(record),
        *new_seeds(record),
        *ensemble_section(record),
        *data_read(record),
        *warm_start(record),
        *shared_programs(record),
        *lr_range_section(record.lr_ranges),
        *recipe_section(record),
        *baselines_beside(record),
        *calibration_effect(record),
        *(failed if progress.best is None else []),  # then they are what matters
        trials_by_outcome(record),
        leaderboard(record),
        *time_to_target(record, targets),
        *curves_diagnosed(record, progress),
        *acts_of_users(record),
        hyperparameters(record, importances, response),
        *interactions_found(record, importances, response),
        *([] if record.spec.search.is_population else [early_stopping(record, progress)]),
        *warnings_of_checks(record),
        *([] if progress.best is None else failed),
    ]


def facts(record: Record) -> list[Section]:
    """Return with which code and versions a search was made, where that is known."""
    rows = as_rows((name, str(value)) for name, value in record.facts.items())
    versions = [Section("Versions", (Table(("what", "value"), rows),))] if rows else []
    return [*_changed_code(record), *versions]


def _changed_code(record: Record) -> list[Section]:
    """Say after how many trials the search went on with other code."""
    rows = as_rows(
        (str(sum(trial.started_at < at for trial in record.trials)), ", ".join(files))
        for at, files in record.code_changes
    )
    return [Section("Changed code", (Table(("after trials", "files"), rows),))] if rows else []


def test_score(record: Record) -> tuple[str, float] | None:
    """Return what the test metric that matches the objective is called, and its value."""
    metrics = record.result.get("test_metrics") or {}
    plain = record.spec.objective.metric.removeprefix("val_")
    found = next((name for name in (f"test_{plain}", plain) if name in metrics), None)
    return None if found is None else (f"test {plain}", metrics[found])


def _model_and_data(record: Record) -> str:
    environment = record.spec.environment
    if isinstance(environment, Mapping):
        which = environment.get("id", environment["name"])
        return f"{_names(record.spec.agent)} in `{which}`"
    model, dataset = (_names(tree) for tree in (record.spec.model, record.spec.dataset))
    return f"{model} on {dataset}"


def _names(tree: Tree) -> str:
    if isinstance(tree, Choices):
        return " or ".join(f"`{label}`" for label in tree.labels)
    return f"`{tree['name']}`"


def _next(record: Record) -> Section:
    own = f"hpsearch report {record.name}"
    commands = {
        f"hpsearch status {record.name}": "progress, and why trials failed",
        **{command: what for command, what in next_steps(record).items() if command != own},
    }
    width = max(map(len, commands))
    lines = [f"{command:<{width}}  # {what}" for command, what in commands.items()]
    return Section("Next steps", (Code("\n".join(lines)),))

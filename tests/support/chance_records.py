"""Records put together by chance, of the specs that are shipped, and what must be true of each."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hpsearch.analysis import SearchReport, comparison
from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import HpsearchError
from hpsearch.live import render_report, status_text
from hpsearch.next_spec import next_text, plain_next
from hpsearch.outcome import Outcome, StoppedBy
from hpsearch.record import Record, SearchState
from hpsearch.samplers import make_sampler
from hpsearch.simulation import RecordedCurves, replay, simulate
from hpsearch.spec import SearchSpec, draft_spec, load_spec
from hpsearch.spec.documents import load_yaml
from tests.support.examples import ROOT

SPECS = sorted((ROOT / "search_spaces").glob("**/*.yaml"))
SPECS = [path for path in SPECS if path.parent.name != "studies"]
METRICS = {"train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr", "grad_norm"}
STATES: list[SearchState] = ["running", "finished", "stopped", "failed"]
SAMPLERS = ("auto", "cmaes", "gp", "qmc", "random", "tpe")
RULES = ("asha", "asha_promotion", "freeze_thaw", "hyperband", "median", "none")
#: of trials; most are as they should be
OUTCOMES = [*Outcome, None, *[Outcome.COMPLETED] * 9, *[Outcome.STOPPED_EARLY] * 6]


def is_read(seed: int, folder: Path) -> None:
    """Read a record by all that reads records, and simulate a search on it."""
    draw = random.Random(seed)
    path = SPECS[seed % len(SPECS)]
    record = any_record(load_spec(path), draw, folder)
    _read(record)
    replay(record)
    spec = _searched_otherwise(path, draw)
    if spec is None or record.state == "running":
        return
    try:
        simulated = simulate(spec, RecordedCurves(record, spec), draw.choice([1, 4, 33]))
    except HpsearchError:  # too few whole curves, several objectives
        return
    _read(simulated)
    both = [record, simulated]
    differences = comparison.differences(both)
    comparison.comparison_sections(both, differences, comparison.shared_targets(both))


def any_record(spec: SearchSpec, draw: random.Random, folder: Path) -> Record:
    """Return the record of a search of random configurations that have random curves."""
    record = Record.create(folder / "record.journal", spec)
    sampler = make_sampler(
        {"name": "random"},
        record.space,
        seed=draw.randrange(1000),
        direction=spec.objective.direction,
        rungs=make_early_stopper(spec).rungs,
        slots=2,
    )
    for number in range(draw.choice([0, 1, 2, 3, 8, 20, 32, 60])):
        params = sampler.suggest(number, [])
        if params is None:
            break
        trial = record.add_trial(record.space.clipped(params))
        for epoch, metrics in enumerate(_any_curve(spec, draw), start=1):
            trial.curve[epoch], trial.reported_at[epoch] = metrics, trial.started_at + epoch
        trial.outcome = draw.choice(OUTCOMES)
        if trial.outcome is Outcome.COMPLETED and not trial.curve:
            trial.outcome = Outcome.FAILED
        if trial.outcome is Outcome.STOPPED_EARLY:
            trial.stopped_by = StoppedBy("asha", max(trial.epochs, 1))
        if trial.outcome is not None:
            trial.ended_at = trial.started_at + trial.epochs + 1
    state = draw.choice(STATES)
    if state != "running":
        record.end(state, "it was so" if state == "failed" else None)
    return record


def _any_curve(spec: SearchSpec, draw: random.Random) -> list[dict[str, float]]:
    """Return metrics by epoch, with the objective finite, as records have them."""
    epochs = np.arange(1, 1 + min(draw.choice([0, 1, 1, 1, 3, 3, 9, 27]), spec.max_epochs or 27))
    scores = _any_scores(draw, epochs)
    losses = 2.5 * (1 - scores)
    if len(losses) and draw.random() < 0.2:
        losses[-1] = draw.choice([math.nan, math.inf])
    names = METRICS | {spec.objective.metric, *spec.other_metrics}
    curve = []
    for score, loss in zip(scores.tolist(), losses.tolist(), strict=True):
        metrics = {name: loss if "loss" in name else score for name in names}
        if not math.isfinite(metrics[spec.objective.metric]):
            break
        curve.append({**metrics, "seconds": draw.expovariate(1.0)})
    return curve


def _any_scores(draw: random.Random, epochs: NDArray[Any]) -> NDArray[Any]:
    rising: NDArray[Any] = draw.uniform(0.1, 1.0) * (1 - np.exp(-draw.uniform(0.05, 2) * epochs))
    shapes: list[Callable[[], NDArray[Any]]] = [
        lambda: rising,
        lambda: rising + draw.gauss(0.0, 0.2) * np.sin(7 * epochs),
        lambda: rising - 0.02 * np.maximum(0, epochs - len(epochs) // 2),
        lambda: np.full(len(epochs), draw.choice([-1.0, 0.0, 0.1, 1.0])),
        lambda: np.where(epochs > 2, draw.choice([0.0, 1e9, -1e9, 1e-12]), rising),
    ]
    return draw.choice(shapes)()


def _searched_otherwise(path: Path, draw: random.Random) -> SearchSpec | None:
    """Return a spec with another sampler, rule and budget; None where these don't go with it."""
    document = load_yaml(path.read_text())
    search = {**document["search"], "sampler": draw.choice(SAMPLERS), "seed": draw.randrange(9)}
    search["early_stopping"] = {
        "name": draw.choice(RULES),
        "max_epochs": load_spec(path).max_epochs,
    }
    search["trials"] = draw.choice([1, 5, 20, 60])
    return draft_spec({**document, "search": search}).spec


def _read(record: Record) -> None:
    report = SearchReport(record, (0.5,))
    assert f"{len(record.trials)} trial" in report.to_markdown()
    assert record.name in report.to_html()
    assert len(report.trials) == len(record.trials)
    assert report.leaderboard() is not None
    Console(file=io.StringIO(), width=80).print(render_report(report))
    for width in (40, 80, 200):
        assert record.name in status_text(record, width)
    assert next_text(plain_next(record))

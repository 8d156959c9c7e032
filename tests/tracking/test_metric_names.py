"""Metrics of any name: kept everywhere, escaped in MLflow alone."""

from __future__ import annotations

import doctest
import html
import random
import re
from pathlib import Path

import pytest
from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag
from rich.console import Console

import hpsearch.spec.names
from hpsearch.analysis import SearchReport
from hpsearch.errors import SpecError
from hpsearch.integrity.run_rules import run_problems
from hpsearch.live import render_report
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.spec import SearchSpec, draft_spec
from hpsearch.tracking import names, sync
from hpsearch.tracking.audit import read_runs
from hpsearch.tracking.names import mlflow_name
from hpsearch.training.user_code.reports import read_metrics
from hpsearch.validation import check
from tests.support.mlflow_store import Store

ODD = [
    "recall@10",
    "recall_10",
    "recall_x0040_10",
    "recall_x005F_x0040_10",
    "_x@_",
    "_x_",
    "_x_x0040__",
    "grad_x/y",
    "top-5 (%)",
    "acc[red]x[/red]",
    "a//b",
    "a/b/",
    "/a",
    "//",
    ".",
    "..",
    "...",
    "..a",
    "./a",
    "a/../b",
    "a/.",
    "a\\b",
    "<b>loss</b>",
    "précision",
    "損失",
    "😀",
    " ",
    "`|$#'\"",
    "n" * 250,
    "@" * 250,
    "@" * 249 + "!",
]


def original(escaped: str) -> str:
    """What `mlflow_name` was given, if it was not too long."""
    return re.sub("_x([0-9A-F]*)_", lambda code: chr(int(code[1], 16)) if code[1] else "", escaped)


def takes(name: str) -> None:
    """Raise what MLflow raises for a name that it doesn't take."""
    _validate_metric(name, 0.5, 0, 1)
    _validate_param(name, "value")
    _validate_tag(name, "value")


@pytest.mark.parametrize("name", [*ODD, "", "\n", "a\n", "\0", "\udc80"])
def test_mlflow_takes_every_name(name: str) -> None:
    takes(mlflow_name(name))


def test_no_two_names_become_one() -> None:
    rng = random.Random(0)
    made = {"".join(rng.choices("_x04A@/.a", k=rng.randrange(9))) for _ in range(20_000)} | {*ODD}
    escaped = {name: mlflow_name(name) for name in made}
    assert len(set(escaped.values())) == len(made)
    short = [name for name in made if len(escaped[name]) < names.MAX_NAME]
    assert len(short) > 10_000
    for name in short:
        takes(escaped[name])
        assert original(escaped[name]) == name
        assert mlflow_name(escaped[name]) != escaped[name] or escaped[name] == name


def test_usual_names_stay() -> None:
    for name in ("val_loss", "val/loss", "a.b-c d", "val:acc", "grad_xy", "loss_x"):
        assert mlflow_name(name) == name


def spec_of(metric: str) -> SearchSpec:
    raw = {
        "name": "a-search",
        "objective": {"metric": metric},
        "trainable": "search_spaces/user_training_function.py:train",
        "space": {"lr": {"low": 0.1, "high": 1.0}},
    }
    return check(draft_spec(raw, Path(__file__).parents[2]))


def reported(folder: Path, metric: str) -> Record:
    """The record of a search whose training function reports this objective, and odd others."""
    record = Record.create(folder / "record.journal", spec_of(metric))
    record.add_trial({"lr": 0.5})
    record.start_attempt(0)
    for epoch in (1, 2):
        record.report(0, epoch, read_metrics({**dict.fromkeys(ODD, 0.25), metric: 0.5}, epoch))
    record.end_trial(0, Outcome.COMPLETED)
    record.end("finished")
    return record


@pytest.mark.parametrize("metric", ["recall@10", "@" * 250])
def test_an_odd_objective_is_kept_in_the_record_and_escaped_in_mlflow(
    tmp_path: Path, store: Store, metric: str
) -> None:
    record = reported(tmp_path, metric)
    assert Record.open(tmp_path / "record.journal", "a-search").objective(record.trials[0]) == 0.5
    assert record.best is not None
    sync(record, store.uri, store.artifacts)
    before = store.dump()
    sync(record, store.uri, store.artifacts)
    assert store.dump() == before
    run = store.trials()[0]
    assert store.curve(run, mlflow_name(metric)) == [(1, 0.5), (2, 0.5)]
    assert len(run.data.metrics) == len({*ODD, metric})
    assert store.parent().data.params["objective.metric"] == metric
    assert list(run_problems(record, read_runs(record, store.uri))) == []


@pytest.mark.parametrize("metric", ["recall@10", "acc[red]x[/red]", "<b>loss</b>"])
def test_an_odd_objective_is_shown_as_it_is(tmp_path: Path, metric: str) -> None:
    report = SearchReport(reported(tmp_path, metric))
    console = Console(width=200)
    with console.capture() as shown:
        console.print(render_report(report))
    assert shown.get().count(metric) >= 2
    assert metric in report.to_markdown()
    assert html.escape(metric) in report.to_html()
    for figure in report.figures.values():  # plotly reads tags in texts
        title = figure.layout.yaxis.title.text
        assert title in (None, html.escape(metric))


@pytest.mark.parametrize("metric", ["", "epoch", "a\nb", "\udc80", "n" * 251])
def test_an_objective_that_nothing_can_report_is_refused(metric: str) -> None:
    with pytest.raises(SpecError, match=r"objective.metric: must be|objective.metric: must have"):
        spec_of(metric)


def test_texts_that_databases_refuse_are_written_with_escapes(
    tmp_path: Path, store: Store
) -> None:
    record = reported(tmp_path, "recall@10")
    record.add_trial({"lr": 0.6})
    record.end_trial(1, Outcome.FAILED, "no file \udcff\0", "Traceback \ud800")
    sync(record, store.uri, store.artifacts)
    tags = store.trials()[1].data.tags
    assert (tags["reason"], tags["traceback"]) == (r"no file \udcff\x00", r"Traceback \ud800")


def test_docstrings() -> None:
    for module in (names, hpsearch.spec.names):
        assert doctest.testmod(module).failed == 0

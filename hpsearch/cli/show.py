"""Commands that look: at specs, at searches, at what there is to search."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpsearch.cli.common import (
    RUNS,
    NameArgument,
    RunsOption,
    SetOption,
    SpecArgument,
    app,
    console,
    open_search,
)
from hpsearch.errors import HpsearchError

if TYPE_CHECKING:
    from hpsearch.record import Record
    from hpsearch.runs import SearchFolder


class Output(StrEnum):
    """Form in which `best` prints."""

    SPEC = "spec"
    JSON = "json"


@app.command()
def validate(spec: SpecArgument, overrides: SetOption = []) -> None:  # noqa: B006  # typer's way
    """Check a spec, its components and its data, without running it."""
    from hpsearch.space import SearchSpace
    from hpsearch.validation import load_checked_spec

    checked = load_checked_spec(spec, overrides)
    parameters = SearchSpace.of(checked).parameters
    console.print(f"{spec}: valid; {len(parameters)} hyperparameters to search")
    table = Table("hyperparameter", "distribution", "when", box=None)
    for parameter in parameters:
        when = ", ".join(f"{name}={value}" for name, value in parameter.condition)
        table.add_row(parameter.name, _describe(parameter.distribution), when)
    console.print(table)


@app.command("list")
def list_searches(runs: RunsOption = RUNS) -> None:
    """List the searches of a runs folder."""
    from hpsearch.runs import Runs

    place = Runs(runs)
    table = Table("search", "state", "trials", "best", "metric", box=None)
    for name in place.names():
        folder = place.search(name)
        record = folder.open_record()
        best = record.best
        value = "" if best is None else f"{record.objective(best):.4g}"
        ended = sum(trial.outcome is not None for trial in record.trials)
        trials = f"{ended}/{record.spec.search.trials}"
        table.add_row(name, _state(folder, record), trials, value, record.spec.objective.metric)
    console.print(table if table.row_count else f"no searches in {place.path}")


@app.command()
def status(name: NameArgument, runs: RunsOption = RUNS) -> None:
    """Show how far a search is, and why trials ended as they did."""
    from hpsearch.live import render_status

    folder, record = open_search(name, runs)
    console.print(render_status(record))
    if _state(folder, record) == "interrupted":
        console.print(f"\ninterrupted: its driver died; `hpsearch resume {name}` goes on with it")


@app.command()
def report(name: NameArgument, runs: RunsOption = RUNS) -> None:
    """Write a search's report anew and print it."""
    from rich.markdown import Markdown

    from hpsearch.analysis import SearchReport, write_report

    folder, record = open_search(name, runs)
    write_report(record, folder)
    text = SearchReport(record).to_markdown()
    console.print(Markdown(text) if console.is_terminal else text, soft_wrap=True)
    console.print(f"written to {folder.report_md} and {folder.report_html}", soft_wrap=True)


@app.command()
def best(
    name: NameArgument,
    runs: RunsOption = RUNS,
    output: Annotated[Output, typer.Option(help="A spec to run again, or JSON.")] = Output.SPEC,
) -> None:
    """Print the best configuration of a search."""
    _, record = open_search(name, runs)
    trial = record.best
    if trial is None:
        raise HpsearchError(f"{name}: no trial has trained its full budget yet")
    if output is Output.SPEC:
        print(record.spec.with_values(trial.values).to_yaml(), end="")
        return
    value = {
        "search": name,
        "trial": trial.number,
        "objective": {record.spec.objective.metric: record.objective(trial)},
        "metrics": trial.curve[trial.epochs],
        "test_metrics": record.result.get("test_metrics"),
        "params": trial.params,
        "values": trial.values,
    }
    print(json.dumps(value, indent=2))


@app.command()
def components(
    family: Annotated[str | None, typer.Argument(help="Such as model or optimizer.")] = None,
) -> None:
    """List the components that a spec can name, with their keywords."""
    import hpsearch.components  # noqa: F401  # registers them
    import hpsearch.samplers  # noqa: F401
    from hpsearch import registry
    from hpsearch.errors import nearest_names

    families = [known for known in registry.OFFERED if registry.names(known)]
    if family is not None and family not in families:
        hint = " or ".join(nearest_names(family, families)) or ", ".join(families)
        raise HpsearchError(f"no family {family!r} of components; there are: {hint}")
    for each in [family] if family else families:
        console.print(_component_table(each))


@app.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    from hpsearch.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def ui(
    runs: RunsOption = RUNS,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
) -> None:
    """Open the MLflow UI on a runs folder's store."""
    import os

    from hpsearch.runs import Runs

    place = Runs(runs)
    if not place.names():
        raise HpsearchError(f"no searches in {place.path}")
    console.print(f"MLflow UI of {place.path} on http://127.0.0.1:{port} (Ctrl-C ends it)")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--backend-store-uri", place.tracking_uri]
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # eight idle processes
    os.execv(sys.executable, [*command, *store])  # so that what ends this ends it


def _state(folder: SearchFolder, record: Record) -> str:
    """The search's state; a search that should run, but has no driver, is interrupted."""
    is_interrupted = record.state == "running" and not folder.is_driven()
    return "interrupted" if is_interrupted else record.state


def _component_table(family: str) -> Table:
    from hpsearch import registry

    table = Table(family, "keywords (*: fusible)", "what it is", title_justify="left", box=None)
    for name in registry.names(family):
        component = registry.get(family, name)
        keywords = [
            f"{keyword}{'*' if keyword in component.fusible else ''}={parameter.default!r}"
            if parameter.default is not parameter.empty
            else keyword
            for keyword, parameter in component.keywords.items()
        ]
        table.add_row(name, ", ".join(keywords), component.summary)
    return table


def _describe(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return " | ".join(str(choice) for choice in distribution.choices)
    notes = ["log"] if distribution.log else []
    if distribution.step not in (None, 1):
        notes.append(f"step {distribution.step:g}")
    kind = "integer" if type(distribution).__name__ == "IntDistribution" else "real"
    return ", ".join([f"{kind} {distribution.low:g} to {distribution.high:g}", *notes])

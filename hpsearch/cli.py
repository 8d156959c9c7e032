"""The command line. What is slow to import is imported inside the commands."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from hpsearch.errors import HpsearchError, SearchFailedError

if TYPE_CHECKING:
    from hpsearch.record import Record
    from hpsearch.runs import SearchFolder

app = typer.Typer(
    name="hpsearch",
    help="Hyperparameter search for PyTorch.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder that keeps the searches.")]
NameArgument = Annotated[str, typer.Argument(help="Name of a search.")]
SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML file of a search.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Replace a value of the spec.")
]
RUNS = Path("runs")


class Output(StrEnum):
    """Form in which `best` prints."""

    SPEC = "spec"
    JSON = "json"


def main() -> None:
    """Run the command line; errors that a user can mend are printed without a traceback."""
    try:
        app()
    except SearchFailedError as error:
        _fail(error, status=1)
    except HpsearchError as error:
        _fail(error, status=2)


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


@app.command()
def run(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006
    runs: RunsOption = RUNS,
    name: Annotated[
        str | None, typer.Option(help="Name of the search, if not the spec's.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster to join.")] = None,
) -> None:
    """Run a search to its end."""
    from hpsearch.live import LiveView
    from hpsearch.runs import Runs
    from hpsearch.spec import read_draft

    overrides = [*overrides, *([f"name={json.dumps(name)}"] if name else [])]
    draft = read_draft(spec, overrides)
    if draft.spec is None:
        from hpsearch.validation import check

        check(draft)  # tells of the mistakes in shape and in meaning, all at once
    assert draft.spec is not None
    Runs(runs).check_new(draft.spec.name)
    with LiveView(console) as view:
        from hpsearch.search import run_search

        report = run_search(draft.spec, runs, address=address, on_start=view.watch)
    _print_report(report, runs)
    if report.state == "stopped":
        raise typer.Exit(130)  # as a shell says of a command that Ctrl-C ended


@app.command("list")
def list_searches(runs: RunsOption = RUNS) -> None:
    """List the searches of a runs folder."""
    from hpsearch.runs import Runs

    place = Runs(runs)
    table = Table("search", "state", "trials", "best", "metric", box=None)
    for name in place.names():
        record = place.search(name).open_record()
        best = record.best
        value = "" if best is None else f"{record.objective(best):.4g}"
        ended = sum(trial.outcome is not None for trial in record.trials)
        trials = f"{ended}/{record.spec.search.trials}"
        table.add_row(name, record.state, trials, value, record.spec.objective.metric)
    console.print(table if table.row_count else f"no searches in {place.path}")


@app.command()
def status(name: NameArgument, runs: RunsOption = RUNS) -> None:
    """Show how far a search is, and why trials ended as they did."""
    from hpsearch.live import render_status

    _, record = _open(name, runs)
    console.print(render_status(record))


@app.command()
def report(name: NameArgument, runs: RunsOption = RUNS) -> None:
    """Write a search's report anew and print it."""
    from rich.markdown import Markdown

    from hpsearch.analysis import SearchReport, write_report

    folder, record = _open(name, runs)
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
    _, record = _open(name, runs)
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


def _open(name: str, runs: Path) -> tuple[SearchFolder, Record]:
    from hpsearch.runs import Runs

    folder = Runs(runs).search(name)
    return folder, folder.open_record()


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


def _print_report(report: Any, runs: Path) -> None:
    from hpsearch.live import render_report

    console.print(render_report(report))
    option = "" if runs == RUNS else f" --runs {runs}"
    console.print("\nNext:")
    for command, what in {
        f"hpsearch report {report.name}{option}": "the whole report",
        f"hpsearch best {report.name}{option}": "the best configuration as a spec",
        f"hpsearch ui{option}": "every curve, in MLflow",
    }.items():
        console.print(f"  {command:<40} {what}", soft_wrap=True, highlight=False)


def _fail(error: Exception, status: int) -> NoReturn:
    Console(stderr=True).print(f"[red]error:[/red] {_escape(str(error))}", soft_wrap=True)
    raise SystemExit(status)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    main()

"""Commands about what a search left: MLflow's view, tables, verifying, removing garbage."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from hpsearch.cli.common import (
    RUNS,
    JsonOption,
    NameArgument,
    RunsOption,
    app,
    console,
    open_search,
    use_tracking_token,
)
from hpsearch.cli.plain import print_json
from hpsearch.errors import HpsearchError
from hpsearch.formatting import show_bytes, show_count

if TYPE_CHECKING:
    from hpsearch.analysis.export import TableFormat
    from hpsearch.integrity.check import Findings
    from hpsearch.runs import Runs

#: searches whose trials `ui` says the place of
NUM_SHOWN = 5


@app.command()
def sync(
    name: NameArgument,
    runs: RunsOption = RUNS,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store to write to; default: the search's own.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild MLflow's view of a search from its record."""
    from hpsearch.runs import Runs
    from hpsearch.searches import sync_search

    use_tracking_token(Runs(runs))
    uri = sync_search(name, runs, tracking_uri)
    if as_json:
        print_json({"name": name, "tracking_uri": uri})
        return
    console.print(f"{name}: {uri} is in sync with the record", soft_wrap=True)


@app.command()
def export(
    name: NameArgument,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV: the default.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="As Parquet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, a list of rows.")] = False,
    to: Annotated[Path, typer.Option(help="Target folder.")] = Path(),
    runs: RunsOption = RUNS,
) -> None:
    """Write a search's trials and their curves as tables."""
    from hpsearch.result import open_search as open_result

    given: dict[TableFormat, bool] = {"csv": csv, "parquet": parquet, "json": as_json}
    forms = [form for form, is_given in given.items() if is_given] or ["csv"]
    if len(forms) > 1:
        raise HpsearchError("export: give one of --csv, --parquet and --json")
    paths = open_result(name, runs).export(to, forms[0])
    if as_json:
        print_json({"name": name, "paths": paths})
        return
    for path in paths:
        console.print(str(path), soft_wrap=True, markup=False)


@app.command()
def check(name: NameArgument, runs: RunsOption = RUNS, as_json: JsonOption = False) -> None:
    """Verify that a search's record, MLflow runs and files agree: nothing lost or duplicated."""
    from hpsearch.integrity.check import check_search
    from hpsearch.runs import Runs

    folder, record = open_search(name, runs)
    uri, _ = Runs(runs).tracking_of(record.spec)
    findings = check_search(record, folder, uri)
    if as_json:
        print_json({"name": name, **asdict(findings)})
    else:
        _print_findings(name, findings)
    if findings.problems:
        raise typer.Exit(1)


def _print_findings(name: str, findings: Findings) -> None:
    for line in findings.compared:
        console.print(f"compared {line}", soft_wrap=True, highlight=False, markup=False)
    for line in findings.problems:
        console.print(f"[red]problem[/red] {escape(line)}", soft_wrap=True, highlight=False)
    console.print(f"{name}: {show_count(len(findings.problems), 'problem')}")


@app.command()
def gc(
    runs: RunsOption = RUNS,
    dry_run: Annotated[bool, typer.Option(help="List the files, but remove nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove files that no record refers to: old checkpoints, Ray's files, partial writes."""
    from hpsearch.integrity.garbage import find_garbage, remove
    from hpsearch.runs import Runs

    garbage = find_garbage(Runs(runs))
    for item in [] if as_json else garbage:
        line = f"{item.path} ({show_bytes(item.num_bytes)}): {item.why}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    num_bytes = sum(item.num_bytes for item in garbage) if dry_run else remove(garbage)
    if as_json:
        items = [
            {"path": item.path, "num_bytes": item.num_bytes, "why": item.why} for item in garbage
        ]
        print_json({"items": items, "num_bytes": num_bytes, "removed": not dry_run})
        return
    verb = "would be removed" if dry_run else "removed"
    console.print(f"{show_count(len(garbage), 'item')}, {show_bytes(num_bytes)} {verb}")


@app.command()
def ui(
    name: Annotated[
        str | None, typer.Argument(help="A search; by default the newest ones.")
    ] = None,
    runs: RunsOption = RUNS,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
) -> None:
    """Open the MLflow UI on a runs folder's store; says where each search's trials are."""
    from hpsearch.runs import Runs
    from hpsearch.tracking.places import open_own_store

    place = Runs(runs)
    names = place.names()[-NUM_SHOWN:] if name is None else [place.search(name).name]
    if not names:
        raise HpsearchError(f"no searches in {place.path}")
    open_own_store(place.tracking_uri, place.artifacts)
    shown_at = f"http://127.0.0.1:{port}"
    console.print(f"MLflow UI of {place.path} on {shown_at} (Ctrl-C ends it)")
    for each, address in _trials_in_mlflow(place, names, shown_at):
        console.print(f"  {each}, best trial first: {address}", soft_wrap=True, markup=False)
    command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    store = ["--backend-store-uri", place.tracking_uri]
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # eight idle processes
    os.execv(sys.executable, [*command, *store])  # so that what ends this ends it


def _trials_in_mlflow(
    place: Runs, names: Sequence[str], shown_at: str
) -> Iterator[tuple[str, str]]:
    """Yield where MLflow's UI lists the trials of searches, the newest first; those that are
    tracked elsewhere, or not yet, are left out."""
    from hpsearch.tracking import address_of_trials

    for name in reversed(names):
        with suppress(HpsearchError):
            record = place.search(name).open_record()
            if place.tracking_of(record.spec)[0] == place.tracking_uri:
                yield name, address_of_trials(record, place.tracking_uri, shown_at)

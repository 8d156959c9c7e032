"""Maintenance commands: rebuild MLflow's view, export, verify a search, remove garbage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
        console.print(str(path), soft_wrap=True)


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
        console.print(f"compared {line}", soft_wrap=True, highlight=False)
    for line in findings.problems:
        console.print(f"[red]problem[/red] {line}", soft_wrap=True, highlight=False)
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
        console.print(line, soft_wrap=True, highlight=False)
    num_bytes = sum(item.num_bytes for item in garbage) if dry_run else remove(garbage)
    if as_json:
        items = [
            {"path": item.path, "num_bytes": item.num_bytes, "why": item.why} for item in garbage
        ]
        print_json({"items": items, "num_bytes": num_bytes, "removed": not dry_run})
        return
    verb = "would be removed" if dry_run else "removed"
    console.print(f"{show_count(len(garbage), 'item')}, {show_bytes(num_bytes)} {verb}")

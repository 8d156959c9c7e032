"""Commands that work on a search: run it, go on with it, stop it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli.common import (
    RUNS,
    AddressOption,
    NameArgument,
    RunsOption,
    SetOption,
    SpecArgument,
    app,
    console,
)
from hpsearch.errors import HpsearchError

if TYPE_CHECKING:
    from pathlib import Path

    from hpsearch.analysis import SearchReport
    from hpsearch.driver import Watcher


@app.command()
def run(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006
    runs: RunsOption = RUNS,
    name: Annotated[
        str | None, typer.Option(help="Name of the search, if not the spec's.")
    ] = None,
    address: AddressOption = None,
) -> None:
    """Run a search to its end."""
    from hpsearch.runs import Runs
    from hpsearch.spec import read_draft

    overrides = [*overrides, *([f"name={json.dumps(name)}"] if name else [])]
    draft = read_draft(spec, overrides)
    if draft.spec is None:
        from hpsearch.validation import check

        check(draft)  # tells of the mistakes in shape and in meaning, all at once
    assert draft.spec is not None
    checked = draft.spec
    if _is_unfinished(checked.name, runs) and _wants_to_resume(checked.name):
        resume(checked.name, runs, address)
        return
    Runs(runs).check_new(checked.name)

    def start(watch: Watcher) -> SearchReport:
        from hpsearch.search import run_search

        return run_search(checked, runs, address=address, on_start=watch)

    _follow(start, runs)


@app.command()
def resume(name: NameArgument, runs: RunsOption = RUNS, address: AddressOption = None) -> None:
    """Continue a search that did not come to its end, after whatever ended it."""

    def start(watch: Watcher) -> SearchReport:
        from hpsearch.search import resume_search

        return resume_search(name, runs, address=address, on_start=watch)

    _follow(start, runs)


@app.command()
def extend(
    name: NameArgument,
    trials: Annotated[int, typer.Option(min=0, help="Configurations more.")] = 0,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs more, over all trials.")] = 0,
    time: Annotated[str, typer.Option(help="Time more, such as 30m or 2h.")] = "",
    disk: Annotated[str, typer.Option(help="Disk quota more, such as 20GB.")] = "",
    runs: RunsOption = RUNS,
    address: AddressOption = None,
) -> None:
    """Give a search more budget, and go on with it."""
    from hpsearch.spec import parse_duration, parse_size

    seconds = _amount("--time", time, parse_duration)
    num_bytes = int(_amount("--disk", disk, parse_size))
    if not (trials or epochs or seconds or num_bytes):
        raise HpsearchError("extend: needs --trials, --epochs, --time or --disk")

    def start(watch: Watcher) -> SearchReport:
        from hpsearch.search import extend_search

        return extend_search(
            name,
            runs,
            trials=trials,
            epochs=epochs,
            seconds=seconds,
            num_bytes=num_bytes,
            address=address,
            on_start=watch,
        )

    _follow(start, runs)


@app.command()
def stop(name: NameArgument, runs: RunsOption = RUNS) -> None:
    """Stop a search that runs, in whatever terminal, or whose driver died."""
    from hpsearch.search import stop_search

    record = stop_search(name, runs)
    if record.state == "running":
        raise HpsearchError(f"{name}: its driver was asked to stop, but is still at it")
    console.print(f"{name}: {record.state}; `hpsearch resume {name}` goes on with it")


def _amount(option: str, text: str, parse: Callable[[str], object]) -> float:
    try:
        return float(str(parse(text))) if text else 0.0
    except ValueError as error:
        raise HpsearchError(f"{option}: {error}, but got {text!r}") from error


def _is_unfinished(name: str, runs: Path) -> bool:
    from hpsearch.runs import Runs

    place = Runs(runs)
    return name in place.names() and place.search(name).open_record().state == "running"


def _wants_to_resume(name: str) -> bool:
    if not console.is_terminal:
        return False
    return typer.confirm(f"{name} was started and has not come to its end. Resume it?")


def _follow(start: Callable[[Watcher], SearchReport], runs: Path) -> None:
    """Show a search while it runs, and its report at the end."""
    from hpsearch.live import LiveView

    with LiveView(console) as view:
        report = start(view.watch)
    _print_report(report, runs)
    if report.state == "stopped":
        raise typer.Exit(130)  # as a shell says of a command that Ctrl-C ended


def _print_report(report: SearchReport, runs: Path) -> None:
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

"""A search that runs in this process, as the terminal shows it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hpsearch.cli.common import RUNS, console
from hpsearch.cli.plain import plain_search, print_json
from hpsearch.cli.searches import Listed
from hpsearch.errors import SearchFailedError

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.driver import Watcher
    from hpsearch.record import Record

#: exit status of a search that its user stopped, as a shell says of a command that Ctrl-C ended
STOPPED = 130
#: exit status of a search that found nothing
NOTHING_FOUND = 1


def follow(
    start: Callable[[Watcher], SearchReport], runs: Path | None, as_json: bool = False
) -> None:
    """Show a search while it runs, its report at the end, and commands that work on it; as JSON
    only how it ended.

    The commands are for `runs`, the folder of the searches, or with None for a service.
    """
    if as_json:
        report = start(lambda record, folder: None)
        print_json(plain_search(listed(report.record, report.state)))
    else:
        report = _follow(start, runs)
    if status := exit_status(report.state, report.best is not None):
        raise typer.Exit(status)


def listed(record: Record, state: str) -> Listed:
    """Return a search of this machine as lists have it."""
    from hpsearch.analysis.plain import plain_summary

    return Listed(record.name, state, plain_summary(record), note=record.reason or "")


def _follow(start: Callable[[Watcher], SearchReport], runs: Path | None) -> SearchReport:
    from hpsearch.live import LiveView, render_report

    with LiveView(console) as view:
        try:
            report = start(view.watch)
        except SearchFailedError:
            if view.record is not None:
                _print_next(view.record, runs)
            raise
    console.print(render_report(report))
    _print_next(report.record, runs)
    return report


def exit_status(state: str, has_best: bool) -> int:
    """Return the status with which a command that follows a search to its end ends."""
    if state == "stopped":
        return STOPPED
    return 0 if has_best and state != "failed" else NOTHING_FOUND


def _print_next(record: Record, runs: Path | None) -> None:
    from hpsearch.analysis.next_steps import next_steps

    options = "" if runs in (None, RUNS) else f" --runs {shlex.quote(str(runs))}"
    steps = next_steps(record, options, on_service=runs is None)
    width = max(40, *(len(command) + 1 for command in steps))
    console.print("\nNext:")
    for command, what in steps.items():
        line = f"  {command:<{width}} {what}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)

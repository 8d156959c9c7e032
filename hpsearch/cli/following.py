"""A search that runs in this process, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hpsearch.cli.common import RUNS, console

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.driver import Watcher


def follow(start: Callable[[Watcher], SearchReport], runs: Path) -> None:
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

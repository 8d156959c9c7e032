"""How long the pages of a large search take, and how large they are.

    python -m benchmarks.report [--task hpobench/car] [--trials 1000] [--to FOLDER]

The search is simulated over a table of networks. Printed are, for the report and for a comparison
with a second search, the seconds of the wall clock and of the processor, once everything is
imported, and the size of the page. `--to` keeps the pages. Half a minute on one core.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.simulation import TableCurves, table_spec
from benchmarks.tables import load_task
from hpsearch.analysis import SearchReport, comparison
from hpsearch.analysis.page import plain_document
from hpsearch.record import Record
from hpsearch.simulation import simulate

MEGABYTE = 1e6


def simulated(task: str, trials: int, sampler: str) -> Record:
    """Return a search as the simulation gives it, with its curves."""
    table = load_task(task)
    return simulate(table_spec(table, sampler, "asha", trials), TableCurves(table), workers=16)


def compared(records: list[Record]) -> str:
    """Return the page that compares searches."""
    found = comparison.differences(records)
    sections = comparison.comparison_sections(records, found)
    figures = {comparison.FIGURE: comparison.best_by_epochs(records)}
    return plain_document("Comparison of searches", "", sections, figures)


def measured(name: str, make: Callable[[], str], to: Path | None) -> None:
    """Print how long a page takes, and how large it is."""
    began, began_at = time.process_time(), time.perf_counter()
    text = make()
    wall, cpu = time.perf_counter() - began_at, time.process_time() - began
    size = len(text.encode()) / MEGABYTE
    print(f"{name:<8} {wall:.2f} s ({cpu:.2f} s of the processor), {size:.2f} MB", flush=True)
    if to is not None:
        (to / f"{name}.html").write_text(text)


def main() -> None:
    """Print what both pages take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="hpobench/car")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--to", type=Path, help="folder to keep the pages in")
    options = parser.parse_args()
    print(f"command: python -m benchmarks.report {' '.join(sys.argv[1:])}".rstrip())
    print(f"machine: {platform.machine()}")
    one, other = (simulated(options.task, options.trials, each) for each in ("random", "auto"))
    small = simulated(options.task, 40, "random")
    SearchReport(small).to_html()  # imports what figures need
    print(f"pages of searches of {options.trials} trials")
    measured("report", SearchReport(one).to_html, options.to)
    measured("compare", lambda: compared([one, other]), options.to)


if __name__ == "__main__":
    main()

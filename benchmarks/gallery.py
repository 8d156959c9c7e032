"""What each spec of `search_spaces/` finds: `python -m benchmarks.gallery [NAME ...]`.

Runs them one after another, each within `TIME_LIMIT`, and writes the results and the pictures of
the docs' gallery: `docs/gallery/NAME.json` and `NAME.svg`. Pictures are drawn in Chromium. With
`--keep`, a search that has ended in `build/gallery` is shown as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import plotly.offline
from playwright.sync_api import Page, sync_playwright

from hpsearch.analysis import SearchReport
from hpsearch.analysis.ensemble import ensemble_told
from hpsearch.errors import HpsearchError
from hpsearch.runs import Runs
from hpsearch.spec import load_spec

ROOT = Path(__file__).parents[1]
SPECS = ROOT / "search_spaces"
GALLERY = ROOT / "docs" / "gallery"
RUNS = Path("build") / "gallery"
TIME_LIMIT = "3m"
#: what of a spec is made smaller, so that trials complete in that time
REDUCED = {
    "fashion_mnist_cnn": (
        *("dataset.train_rows=3000", "dataset.val_rows=1000"),
        "search.early_stopping.max_epochs=3",
    )
}
WIDTH, HEIGHT = 720, 380
#: of what a record says of its versions and its machine
FACTS = ("cpus", "python", "hpsearch", "ray", "optuna", "mlflow", "torch")
#: the picture is the first of these that there is, by what stands before a colon in its name
FIGURES = ("pareto", "curves", "objective")
_DRAW = "figure => Plotly.toImage(figure, {format: 'svg', width: %d, height: %d})"


def main() -> None:
    """Run the specs and write what they found."""
    known = sorted(path.stem for path in SPECS.glob("*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--keep", action="store_true", help="don't run what has ended")
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"no such specs: {', '.join(sorted(unknown))}")
    GALLERY.mkdir(exist_ok=True)
    with browser() as page:
        for name in options.names or known:
            report = run(name, keep=options.keep)
            (GALLERY / f"{name}.svg").write_text(draw(report, page))
            (GALLERY / f"{name}.json").write_text(json.dumps(result(name, report), indent=1))
            print(f"{name}: {report!r}")


def command(name: str) -> list[str]:
    """Return the command that runs a spec, as the gallery shows it."""
    spec = f"search_spaces/{name}.yaml"
    values = (*REDUCED.get(name, ()), f"search.time_limit={TIME_LIMIT}")
    return ["hpsearch", "run", spec, *(word for value in values for word in ("--set", value))]


def run(name: str, keep: bool) -> SearchReport:
    """Run a spec by the command line, from the repository's folder, and return its report."""
    folder = Runs(ROOT / RUNS)
    search = load_spec(SPECS / f"{name}.yaml").name
    if keep:
        try:
            record = folder.search(search).open_record()
        except HpsearchError:  # it hasn't run yet
            pass
        else:
            if record.state == "finished":
                return SearchReport(record)
    shutil.rmtree(ROOT / RUNS / search, ignore_errors=True)
    _, *arguments = command(name)
    module = [sys.executable, "-m", "hpsearch.cli", *arguments, "--runs", str(RUNS)]
    subprocess.run(module, cwd=ROOT, check=True)
    return SearchReport(folder.search(search).open_record())


def result(name: str, report: SearchReport) -> dict[str, Any]:
    """Return what a search found, as plain values."""
    best, progress = report.best, report.progress
    assert best is not None  # else its command would have failed
    return {
        "spec": f"{name}.yaml",
        "command": " ".join(command(name)),
        "reduced": name in REDUCED,
        "metric": report.record.spec.objective.metric,
        "direction": report.record.spec.objective.direction,
        "value": progress.best_value,
        "trial": best.number,
        "params": dict(best.params),
        "test_metrics": report.test_metrics,
        "ensemble": ensemble_told(report.record),
        "planned": progress.planned,
        "trials": progress.ended,
        "stopped_early": progress.stopped_early,
        "failed": progress.failed,
        "epochs": progress.epochs_used,
        "seconds": round(progress.seconds_used, 1),
        "versions": {name: report.record.facts[name] for name in FACTS},
    }


@contextmanager
def browser() -> Iterator[Page]:
    """Open a page in which Plotly can draw."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page()
        page.add_script_tag(content=plotly.offline.get_plotlyjs())
        yield page
        chromium.close()


def draw(report: SearchReport, page: Page) -> str:
    """Return the picture of a search as SVG."""
    kinds = {name.partition(":")[0]: name for name in reversed(report.figures)}
    figure = report.figures[next(kinds[kind] for kind in FIGURES if kind in kinds)]
    address = page.evaluate(_DRAW % (WIDTH, HEIGHT), json.loads(figure.to_json()))
    return unquote(address.partition(",")[2])


if __name__ == "__main__":
    main()

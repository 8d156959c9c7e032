"""Commands that read searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hpsearch.cli.common import (
    JsonOption,
    NameArgument,
    PlaceOption,
    ServiceOption,
    TargetOption,
    app,
    console,
    say,
)
from hpsearch.cli.open import open_searches
from hpsearch.cli.plain import plain_search, print_json, print_json_line
from hpsearch.formatting import show, show_count


class Output(StrEnum):
    """Form in which `best` prints."""

    SPEC = "spec"
    JSON = "json"


@app.command()
def explain(
    name: NameArgument,
    trial: Annotated[int | None, typer.Option(help="Only this trial.")] = None,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the learning curves of a search's trials show, and what to try."""
    found = open_searches(runs, service).explain(name, trial)
    if as_json:
        print_json({number: [asdict(each) for each in said] for number, said in found.items()})
        return
    for number, said in found.items():
        for each in said:
            console.print(f"trial {number}: {each}", soft_wrap=True, highlight=False, markup=False)
    if not found:
        what = name if trial is None else f"trial {trial}"
        console.print(f"nothing stands out in the curves of {what}")


@app.command("list")
def list_searches(
    mine: Annotated[bool, typer.Option("--mine", help="Only your searches.")] = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the searches of a runs folder or a service."""
    found = open_searches(runs, service).list(mine)
    if as_json:
        print_json([plain_search(each) for each in found])
        return
    table = Table(box=None)
    longest = max((len(each.name) for each in found), default=0)
    table.add_column("search", no_wrap=True, min_width=longest)  # names are for other commands
    for header in ("owner", "state", "trials", "best", "metric", "note"):
        table.add_column(header, overflow="fold")
    for each in found:
        numbers = each.summary
        trials = f"{numbers.get('ended') or 0}/{numbers.get('trials') or ''}"
        value = _best_so_far(numbers)
        metric = str(numbers.get("metric") or "")
        row = (each.name, each.owner, each.state, trials, value, metric, each.note)
        table.add_row(*map(escape, row))
    console.print(table if table.row_count else "no searches", soft_wrap=True)


def _best_so_far(numbers: Mapping[str, Any]) -> str:
    """Return the best value of a list's search; before a trial has completed, that of the one that
    leads, with its epochs."""
    if (best := numbers.get("best_value")) is not None:
        return show(best)
    leads, epochs = numbers.get("leader_value"), numbers.get("leader_epochs")
    if leads is None or epochs is None:
        return ""
    return f"{show(leads)} after {show_count(epochs, 'epoch')}"


@app.command()
def status(
    name: NameArgument,
    targets: TargetOption = [],  # noqa: B006  # typer's way
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a search's progress, and why trials failed."""
    searches = open_searches(runs, service)
    found = searches.reached(name, targets) if targets else []
    if as_json:
        print_json(plain_search(searches.find(name)) | ({"targets": found} if targets else {}))
        return
    console.print(searches.status(name))
    if found:
        from hpsearch.analysis.speed import Reached

        numbers = searches.find(name).summary
        for each in found:
            say(Reached(**each).told(numbers["metric"], numbers["direction"]))


@app.command()
def logs(
    name: NameArgument,
    trial: Annotated[int | None, typer.Option(min=0, help="Number of a trial.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log to its end.")
    ] = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the log of a submitted search, what is known of a run's trials, or one trial's log."""
    for text in open_searches(runs, service).logs(name, trial, follow):
        if as_json:
            print_json_line({"text": text})
        else:
            print(text, end="", flush=True)


@app.command()
def report(
    name: NameArgument,
    targets: TargetOption = [],  # noqa: B006  # typer's way
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Regenerate and print a search's report."""
    from rich.markdown import Markdown

    text, where = open_searches(runs, service).report(name, targets)
    if as_json:
        print_json({"name": name, "markdown": text, "where": where})
        return
    console.print(Markdown(text) if console.is_terminal else text, soft_wrap=True)
    console.print(where, soft_wrap=True)


@app.command()
def best(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    output: Annotated[Output, typer.Option(help="A spec that can be run, or JSON.")] = Output.SPEC,
    as_json: JsonOption = False,
) -> None:
    """Print the best configuration of a search."""
    found = open_searches(runs, service).best(name)
    spec = found.pop("spec")
    if output is Output.SPEC and not as_json:
        print(spec, end="")
    else:
        print_json(found)


@app.command()
def download(
    name: NameArgument,
    to: Annotated[Path, typer.Option(help="Target folder.")] = Path(),
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="The checkpoints of the trials of search.ensemble.")
    ] = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the best trial's checkpoint into a folder: for a training function, what it saved."""
    path = open_searches(runs, service).download(name, to, ensemble)
    if path.suffix == ".pt":
        from hpsearch.training.user_code.saved import unpack

        path = unpack(path)
    if as_json:
        print_json({"name": name, "path": path})
    else:
        console.print(str(path), soft_wrap=True, markup=False)

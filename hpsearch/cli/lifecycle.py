"""Commands that run, resume, extend, stop and delete searches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli.common import (
    RUNS,
    AddressOption,
    ChangedCodeOption,
    FolderOption,
    JsonOption,
    NameArgument,
    PlaceOption,
    RunsOption,
    ServiceOption,
    SetOption,
    SpecArgument,
    app,
    console,
    say,
)
from hpsearch.cli.following import follow
from hpsearch.cli.open import open_searches
from hpsearch.cli.plain import print_json, print_search
from hpsearch.cli.scripts import CommandArgument, spec_of_command
from hpsearch.cli.searches import Budget, Code, Searches
from hpsearch.errors import HpsearchError, Problem, SpecError

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.driver import Watcher
    from hpsearch.spec import Draft


@app.command()
def run(
    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC]", help="YAML file of a search.")
    ] = None,
    command: CommandArgument = None,
    space: Annotated[
        Path | None,
        typer.Option(help="YAML file of hyperparameters, for a command: --space FILE -- COMMAND."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Metric of the command of --space; default: what its script reports."),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option(help="maximize or minimize; default: minimize where the metric is a loss."),
    ] = None,
    overrides: SetOption = [],  # noqa: B006
    runs: RunsOption = RUNS,
    name: Annotated[
        str | None, typer.Option(help="Name of the search; default: the spec's.")
    ] = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a search to its end."""
    from hpsearch.runs import Runs

    overrides = [*overrides, *([f"name={json.dumps(name)}"] if name else [])]
    words = [str(word) for word in ([spec] if spec else [])] + (command or [])
    draft = _draft(words, space, metric, direction, overrides)
    if draft.spec is None:
        from hpsearch.validation import check

        check(draft)  # reports all mistakes, of shape and of meaning, together
    assert draft.spec is not None
    checked = draft.spec
    is_unfinished = not as_json and _is_unfinished(checked.name, runs)
    if is_unfinished and _wants_to_resume(checked.name):
        resume(checked.name, runs, address=address)
        return
    Runs(runs).check_new(checked.name)
    if not as_json:
        if space is not None:
            objective = checked.objective
            say(f"objective: {objective.direction} {objective.metric}")
        if (source := space or spec) is not None:
            say(f"{source}: checking it while Ray starts")

    def start(watch: Watcher) -> SearchReport:
        from hpsearch.searches import run_search

        return run_search(checked, runs, address=address, on_start=watch)

    follow(start, runs, as_json)


def _draft(
    words: Sequence[str],
    space: Path | None,
    metric: str | None,
    direction: str | None,
    overrides: Sequence[str],
) -> Draft:
    """Return the draft of a spec's file, or of a command and its space."""
    from hpsearch.spec.reading import draft_of, read_draft, read_mapping

    if space is not None:
        raw = spec_of_command(words, read_mapping(space), metric, direction)
        return draft_of(raw, Path(), overrides)
    if len(words) != 1:
        rule = "give one SPEC, or --space FILE -- COMMAND"
        raise SpecError([Problem("run", rule, " ".join(words))])
    return read_draft(words[0], overrides)


@app.command()
def submit(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006
    working_dir: Annotated[
        Path | None, typer.Option(help="Folder of the code that the spec names.")
    ] = None,
    priority: Annotated[
        int, typer.Option(help="Priority in a service's queue; the highest first.")
    ] = 0,
    watch: Annotated[bool, typer.Option(help="Follow its log to the end.")] = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a search in the background, on a service or on this machine."""
    searches = open_searches(runs, service)
    name = searches.submit(spec, overrides, working_dir, priority)
    if not as_json:
        console.print(f"{name}: submitted; `hpsearch logs {name} -f` follows it", soft_wrap=True)
    if watch:
        for text in searches.logs(name, None, follow=True):
            if not as_json:
                print(text, end="", flush=True)
    if as_json:
        print_search(searches, name)
    elif watch:
        console.print(searches.status(name))
    if watch:
        raise typer.Exit(searches.exit_status(name))


@app.command()
def resume(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    address: AddressOption = None,
    folder: FolderOption = None,
    changed_code: ChangedCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Resume a search that was stopped or interrupted."""
    searches = open_searches(runs, service, as_json)
    _answer(searches, name, searches.resume(name, address, Code(folder, changed_code)), as_json)


@app.command()
def extend(
    name: NameArgument,
    trials: Annotated[int, typer.Option(min=0, help="Additional trials.")] = 0,
    epochs: Annotated[
        int, typer.Option(min=0, help="Additional epochs, of all trials together.")
    ] = 0,
    time: Annotated[str, typer.Option(help="Additional time, such as 30m or 2h.")] = "",
    disk: Annotated[str, typer.Option(help="Additional disk quota, such as 20GB.")] = "",
    runs: PlaceOption = None,
    service: ServiceOption = None,
    address: AddressOption = None,
    folder: FolderOption = None,
    changed_code: ChangedCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give a search more budget and resume it."""
    from hpsearch.spec import parse_duration, parse_size

    seconds = _amount("--time", time, parse_duration)
    budget = Budget(trials, epochs, seconds, int(_amount("--disk", disk, parse_size)))
    code = Code(folder, changed_code)
    if budget == Budget():
        raise HpsearchError("extend: give --trials, --epochs, --time or --disk")
    searches = open_searches(runs, service, as_json)
    _answer(searches, name, searches.extend(name, budget, address, code), as_json)


@app.command()
def repeat(
    name: NameArgument,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="New seeds, in all.")] = 5,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    address: AddressOption = None,
    folder: FolderOption = None,
    changed_code: ChangedCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train the best configuration of a finished search again with new seeds."""
    searches = open_searches(runs, service, as_json)
    code = Code(folder, changed_code)
    _answer(searches, name, searches.repeat(name, seeds, address, code), as_json)


@app.command()
def stop(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a running search, or one whose driver died."""
    searches = open_searches(runs, service)
    _answer(searches, name, searches.stop(name), as_json)


@app.command()
def delete(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a search and its files; its MLflow runs are kept."""
    if as_json and not yes:
        raise HpsearchError("delete --json: give --yes, as nobody can be asked")
    if not yes:
        typer.confirm(f"Delete {name} and its files?", abort=True)
    open_searches(runs, service).delete(name)
    if as_json:
        print_json({"name": name, "deleted": True})
    else:
        console.print(f"{name}: deleted")


def _answer(searches: Searches, name: str, said: str, as_json: bool) -> None:
    """Print what was done to a search; one that ran here has been shown."""
    if not as_json:
        say(said)
    elif said:
        print_search(searches, name)


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
    return typer.confirm(f"{name} exists and has not finished. Resume it?")

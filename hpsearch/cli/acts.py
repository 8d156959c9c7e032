"""Commands that act on a running search: on a trial, on a range, on all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hpsearch.cli.common import (
    JsonOption,
    NameArgument,
    PlaceOption,
    ServiceOption,
    app,
    console,
    say,
)
from hpsearch.cli.open import open_searches
from hpsearch.cli.plain import print_json
from hpsearch.errors import Problem, SpecError
from hpsearch.formatting import show_time
from hpsearch.text_table import text_table

trial_app = typer.Typer(help="Act on a trial of a running search.", no_args_is_help=True)
app.add_typer(trial_app, name="trial")


def trial_number(text: str) -> int:
    """Return the number of a trial that a command is about; SpecError where it is none."""
    if not text.isdecimal():
        raise SpecError([Problem("TRIAL", "must be the number of a trial, such as 3", text)])
    return int(text)


TrialArgument = Annotated[
    int, typer.Argument(parser=trial_number, metavar="TRIAL", help="Number of a trial.")
]


@trial_app.command("stop")
def stop_trial(
    name: NameArgument,
    trial: TrialArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a trial; its slot goes to the next one."""
    _act(open_searches(runs, service), name, as_json, "stop_trial", trial=trial)


@trial_app.command("extend")
def extend_trial(
    name: NameArgument,
    trial: TrialArgument,
    to: Annotated[int, typer.Option("--to", min=1, help="Epoch to train it to.")],
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a trial on, though early stopping ended or would end it."""
    searches = open_searches(runs, service)
    _act(searches, name, as_json, "extend_trial", trial=trial, to_epoch=to)


@trial_app.command("clone")
def clone_trial(
    name: NameArgument,
    trial: TrialArgument,
    values: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="Change a hyperparameter.")
    ],
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try a trial's configuration with another value."""
    searches = open_searches(runs, service)
    _act(searches, name, as_json, "clone_trial", trial=trial, values=_values(values))


@app.command()
def narrow(
    name: NameArgument,
    parameter: Annotated[str, typer.Argument(help="Name of a hyperparameter with a range.")],
    low: Annotated[float | None, typer.Option(help="New lower end; default: as it is.")] = None,
    high: Annotated[float | None, typer.Option(help="New upper end; default: as it is.")] = None,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Narrow a range for the trials to come."""
    ends = {"low": whole(low), "high": whole(high)}
    _act(open_searches(runs, service), name, as_json, "narrow", parameter=parameter, **ends)


@app.command()
def pause(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a running search after its trials' epochs; `resume` goes on."""
    _act(open_searches(runs, service), name, as_json, "pause")


@app.command("acts")
def list_acts(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what users did to a search: who, when, what."""
    found = open_searches(runs, service).acts(name)
    if as_json:
        print_json(found)
        return
    rows = []
    for each in found:
        refused = f": {each['refused']}" if each.get("refused") else ""
        rows.append((show_time(each["at"]), each["user"], each["told"], each["state"] + refused))
    table = text_table(("when", "who", "what", "state"), rows)
    console.print(table if rows else "no acts", soft_wrap=True, markup=False)


def _act(searches: Any, name: str, as_json: bool, action: str, **what: Any) -> None:
    done = searches.act(name, action, **what)
    if as_json:
        print_json(done)
    else:
        say(act_told(name, done))


def act_told(name: str, act: dict[str, Any]) -> str:
    """Return what became of an act, in a line."""
    told = f"{name}: {act['told']}"
    if act["state"] == "waiting":
        return f"{told}: waits for the search's driver"
    made = act.get("made")
    return told if made is None else f"{told}: trial {made}"


def _values(texts: Sequence[str]) -> dict[str, Any]:
    import yaml

    from hpsearch.spec import load_yaml

    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise SpecError([Problem("--set", "must be name=value", text)])
        if name in values:
            raise SpecError([Problem("--set", f"must give {name} once", text)])
        try:
            values[name] = load_yaml(value)
        except yaml.YAMLError as error:
            raise SpecError([Problem("--set", f"{name} must be given as YAML", value)]) from error
    return values


def whole(value: float | None) -> float | None:
    """Return an integer as one: ranges of integers have no others."""
    return int(value) if value is not None and value.is_integer() else value

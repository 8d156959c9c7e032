"""What the commands share: the application, its options, and how a search is opened."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hpsearch.errors import Problem, SpecError

if TYPE_CHECKING:
    from hpsearch.record import Record
    from hpsearch.runs import Runs, SearchFolder

app = typer.Typer(
    name="hpsearch",
    help="Hyperparameter search for PyTorch.",
    invoke_without_command=True,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(emoji=False)  # no emoji codes: ":train:" is part of a name
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of the searches.")]
NameArgument = Annotated[str, typer.Argument(help="Name of a search.")]
SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="YAML file of a search.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Replace a value of the spec.")
]
RUNS = Path("runs")
#: of commands that work on folders and services alike
PlaceOption = Annotated[
    Path | None,
    typer.Option("--runs", help="Folder of the searches; default: the service, or runs."),
]
ServiceOption = Annotated[
    str | None, typer.Option("--service", help="URL of a service, after `hpsearch login`.")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Address of a Ray cluster to join.")
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="New path of the spec's folder, with its code."),
]


def finite_number(text: str) -> float:
    """Return the number of `--target`; SpecError where it is none, or not finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError([Problem("--target", "must be a finite number", text)])
    return value


TargetOption = Annotated[
    list[float],
    typer.Option(
        "--target",
        parser=finite_number,
        metavar="VALUE",
        help="A value of the objective: how soon was it reached?",
    ),
]
ChangedCodeOption = Annotated[bool, typer.Option("--changed-code", help="Accept changed code.")]


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Hyperparameter search for PyTorch."""
    if version:
        from importlib.metadata import version as version_of

        console.print(f"hpsearch {version_of('hpsearch')}", highlight=False)
        raise typer.Exit


def open_search(name: str, runs: Path) -> tuple[SearchFolder, Record]:
    """Return the folder and the record of a search."""
    from hpsearch.runs import Runs

    place = Runs(runs)
    use_tracking_token(place)
    folder = place.search(name)
    return folder, folder.open_record()


def say(text: str) -> None:
    """Print a line, if there is anything to say."""
    if text:
        console.print(text, soft_wrap=True, markup=False)


def use_tracking_token(runs: Runs) -> None:
    """Let MLflow's client ask the server of a service on this machine, if it keeps these runs."""
    if (token := runs.tracking_token) is not None:
        os.environ.setdefault("MLFLOW_TRACKING_TOKEN", token)

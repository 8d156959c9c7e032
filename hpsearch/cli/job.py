"""Commands that a service runs on the cluster; hidden, as users don't type them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli.common import NameArgument, RunsOption, app, console
from hpsearch.cli.following import follow

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.driver import Watcher

job_app = typer.Typer(help="Commands that a service runs on the cluster.", no_args_is_help=True)
app.add_typer(job_app, name="job", hidden=True)
TrackingOption = Annotated[str | None, typer.Option(help="URL of MLflow.")]


@job_app.command()
def resume(
    name: NameArgument,
    runs: RunsOption,
    budget: Annotated[str, typer.Option(help="Budget of the search, as JSON.")],
    repeats: Annotated[int, typer.Option(help="New seeds of the best once it is finished.")] = 0,
    tracking_uri: TrackingOption = None,
) -> None:
    """Resume a search from its record, with this budget."""

    def start(watch: Watcher) -> SearchReport:
        from hpsearch.searches import resume_search

        _show_token()
        return resume_search(
            name,
            runs,
            address="auto",
            on_start=watch,
            budget=json.loads(budget),
            repeats=repeats,
            tracking_uri=tracking_uri,
        )

    follow(start, runs=None)  # who reads its log has the service, not its folder


@job_app.command()
def close(name: NameArgument, runs: RunsOption, tracking_uri: TrackingOption = None) -> None:
    """End a search that has no driver."""
    from hpsearch.searches import close_search

    _show_token()
    record = close_search(name, runs, tracking_uri)
    console.print(f"{name}: {record.state}")


def _show_token() -> None:
    """Let MLflow's client send the token that the service gave this job, but not its workers'."""
    from hpsearch.service.database.tracking_tokens import VARIABLE

    if token := os.environ.get(VARIABLE):
        os.environ["MLFLOW_TRACKING_TOKEN"] = token

"""Commands of a team: serve, log in, tokens, quotas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpsearch.cli.common import RUNS, JsonOption, RunsOption, ServiceOption, app, console
from hpsearch.cli.login import forget_login, login_file, read_login, write_login
from hpsearch.cli.plain import print_json
from hpsearch.errors import ServiceError
from hpsearch.text_table import text_table

if TYPE_CHECKING:
    from hpsearch.service.client.http_client import Client

token_app = typer.Typer(
    help="Create, list and revoke users' tokens (admins).", no_args_is_help=True
)
app.add_typer(token_app, name="token")


@app.command()
def serve(
    runs: RunsOption = RUNS,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8400,
    database: Annotated[
        str | None, typer.Option(help="URL of PostgreSQL; default: SQLite.", envvar="HPSEARCH_DB")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="URL of Ray's dashboard; default: starts a head.")
    ] = None,
    ray_token: Annotated[Path | None, typer.Option(help="File with Ray's token.")] = None,
    admin_token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the first admin's token; default: prints a new one.",
            envvar="HPSEARCH_ADMIN_TOKEN_FILE",
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="URL of MLflow's server; default: starts one.")
    ] = None,
    own_url: Annotated[
        str | None,
        typer.Option(
            help="URL of this service for drivers on the cluster, which write to MLflow "
            "through it; default: they write to MLflow's server, unless the service starts Ray."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="PostgreSQL for records; default: files.", envvar="HPSEARCH_STORAGE"),
    ] = None,
    max_running: Annotated[
        int, typer.Option(min=1, help="Maximum number of running searches.")
    ] = 4,
    data: Annotated[list[Path], typer.Option(help="Folder that specs may read data from.")] = [],  # noqa: B006
    python: Annotated[str | None, typer.Option(help="Python interpreter on the cluster.")] = None,
    worker_user: Annotated[
        str | None,
        typer.Option(help="User that runs users' code on this machine; default for root: nobody."),
    ] = None,
    cpus: Annotated[
        int | None, typer.Option(help="CPUs of the head that it starts; default: all.")
    ] = None,
) -> None:
    """Serve searches to a team; by default with a Ray head and an MLflow server of its own."""
    from hpsearch.service.embedded.serve import ServeOptions
    from hpsearch.service.embedded.serve import serve as serve_until_stopped

    options = ServeOptions(
        runs=runs,
        host=host,
        port=port,
        database=database,
        ray_address=ray_address,
        ray_token=ray_token,
        admin_token_file=admin_token_file,
        tracking_uri=tracking_uri,
        own_url=own_url,
        storage=storage,
        max_running=max_running,
        data_folders=tuple(data),
        python=python,
        worker_user=worker_user,
        num_cpus=cpus,
    )
    serve_until_stopped(options, lambda line: print(line, flush=True))


@app.command()
def login(
    url: Annotated[str, typer.Argument(help="URL of a service.")],
    token: Annotated[
        str,
        typer.Option(prompt=True, hide_input=True, envvar="HPSEARCH_TOKEN", help="Your token."),
    ],
    as_json: JsonOption = False,
) -> None:
    """Log in to a service; commands then use it. The token is stored in a private file."""
    from hpsearch.service.client.http_client import Client

    me = Client(url, token).me()
    write_login(url, token)
    if as_json:
        print_json({"url": url, "user": me["user"], "role": me["role"], "file": login_file()})
        return
    console.print(
        f"logged in to {url} as {me['user']} ({me['role']}); kept in {login_file()}",
        soft_wrap=True,
    )


@app.command()
def logout(as_json: JsonOption = False) -> None:
    """Log out of all services; commands use folders again."""
    forget_login()
    if as_json:
        print_json({"file": login_file()})
    else:
        console.print("logged out")


@app.command()
def quota(
    user: Annotated[str | None, typer.Argument(help="Name of a user; default: you.")] = None,
    max_running: Annotated[
        int | None, typer.Option(min=0, help="Maximum number of running searches.")
    ] = None,
    gpu_hours: Annotated[float | None, typer.Option(min=0, help="GPU-hours a month.")] = None,
    replace: Annotated[bool, typer.Option("--set", help="Replace the quota (admins).")] = False,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a user's quota and usage, or replace the quota: an omitted limit means unlimited."""
    client = _client(service)
    if replace:
        if user is None:
            raise ServiceError("quota --set: needs the name of a user")
        client.set_quota(user, max_running=max_running, gpu_hours_per_month=gpu_hours)
    found = [client.me()] if user is None else client.quotas()
    shown = [each for each in found if user in (None, each["user"])]
    if as_json:
        print_json(shown)
        return
    rows = []
    for each in shown:
        limits = [each["max_running"], each["gpu_hours_per_month"]]
        texts = ["no limit" if limit is None else f"{limit:g}" for limit in limits]
        rows.append((each["user"], *texts, f"{each['gpu_hours_used']:.2f}"))
    header = ("user", "running searches", "GPU-hours a month", "used")
    console.print(text_table(header, rows))


@token_app.command("create")
def create_token(
    user: Annotated[str, typer.Argument(help="Name of a user.")],
    role: Annotated[str, typer.Option(help="Role: admin, user or viewer.")] = "user",
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a token and print it once."""
    token = _client(service).create_token(user, role)
    if as_json:
        print_json({"user": user, "role": role, "token": token})
    else:
        print(token)


@token_app.command("list")
def list_tokens(service: ServiceOption = None, as_json: JsonOption = False) -> None:
    """List tokens without their secrets."""
    found = _client(service).tokens()
    if as_json:
        print_json(found)
        return
    rows = [(t["id"], t["user"], t["role"], "yes" if t["revoked"] else "") for t in found]
    console.print(text_table(("id", "user", "role", "revoked"), rows))


@token_app.command("revoke")
def revoke_token(
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id from `token list`.")],
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token."""
    _client(service).revoke_token(identity)
    if as_json:
        print_json({"id": identity, "revoked": True})
    else:
        console.print(f"{identity}: revoked")


def _client(service: str | None) -> Client:
    from hpsearch.service.client.http_client import Client

    found = read_login(service)
    if found is None:
        raise ServiceError(
            "not logged in to a service; run `hpsearch login URL --token TOKEN` first"
        )
    return Client(*found)

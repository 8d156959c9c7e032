"""The command that serves agents by the Model Context Protocol."""

from __future__ import annotations

from hpsearch.cli.common import PlaceOption, ServiceOption, app
from hpsearch.cli.open import open_searches
from hpsearch.errors import HpsearchError


@app.command()
def mcp(runs: PlaceOption = None, service: ServiceOption = None) -> None:
    """Serve agents over standard input and output, by the Model Context Protocol."""
    try:
        from hpsearch.cli.mcp_server import make_server
    except ModuleNotFoundError as error:
        if error.name not in ("mcp", "mcp_types"):
            raise
        raise HpsearchError("mcp: needs the SDK; run `pip install 'hpsearch[mcp]'`") from error
    make_server(open_searches(runs, service, as_json=True)).run("stdio")

"""The service in front of servers that note what they are asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bottle

from hpsearch.service.cache.readonly_storage import study_id
from hpsearch.service.core import Service
from hpsearch.service.settings import Settings
from tests.support.team import Team

ROLES = ("admin", "user", "viewer")
API = "/ajax-api/2.0/mlflow"
#: of a script of the service's own pages
HEADERS = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
Seen = list[tuple[str, str]]


class Recorder:
    """A server that notes each request as it came: method, address, headers, body."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.note
                raise AttributeError(name)

            def note(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                recorder.seen.append((self.command, self.path, headers, body))
                is_moved = "elsewhere" in self.path
                self.send_response(302 if is_moved else 200)
                if is_moved:
                    self.send_header("Location", f"{recorder.uri}{API}/webhooks")
                self.send_header("Set-Cookie", "hpsearch=stolen")
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def listening(self) -> Iterator[None]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()

    def take(self) -> Seen:
        """Return method and address of what came since, and forget it."""
        taken, self.seen = self.seen, []
        return [(method, target) for method, target, *_ in taken]


class Site:
    """The service in front of recorders, with a session for each role, and one search."""

    def __init__(self, folder: Path, recorder: Recorder) -> None:
        (folder / "runs").mkdir()
        database = f"sqlite:///{folder / 'service.db'}"
        self.recorder = recorder
        self.service = Service(
            Settings(folder / "runs", database, "http://127.0.0.1:1", tracking_uri=recorder.uri)
        )
        self.team = Team(self.service)
        self.team.add_finished("done")
        self.number = study_id("done")
        self.dashboard_saw: Seen = []
        dashboards = self.team.app.state.dashboards
        for app in (dashboards.frame, dashboards.app(self.number)):
            app.add_hook("before_request", self._note)
        self.cookies: dict[str | None, str] = {None: ""}
        for role in ROLES:
            user = self.service.tokens.authenticate(self.service.tokens.create(role, role))
            self.cookies[role] = f"hpsearch={self.service.sessions.begin(user)}"

    def _note(self) -> None:
        """Note what came to the dashboard's own application, a real one."""
        environment = bottle.request.environ
        query = environment["QUERY_STRING"]
        target = environment["PATH_INFO"] + (f"?{query}" if query else "")
        self.dashboard_saw.append((environment["REQUEST_METHOD"], target))

    def take(self) -> Seen:
        """Return what came to either server behind, and forget it."""
        taken, self.dashboard_saw = self.dashboard_saw, []
        return self.recorder.take() + taken

    async def ask(
        self,
        method: str,
        target: bytes | str,
        role: str | None = "viewer",
        body: bytes = b"{}",
        **headers: str,
    ) -> int:
        """Send a request with exactly this address; returns the status of the answer."""
        raw = target.encode("latin-1") if isinstance(target, str) else target
        path, _, query = raw.partition(b"?")
        given = HEADERS | {"Host": "hpsearch", "Cookie": self.cookies[role]} | headers
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [(n.lower().encode(), v.encode()) for n, v in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("hpsearch", 80),
        }
        status = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body if method == "POST" else b""}

        async def send(message: Any) -> None:
            status.append(message.get("status"))

        await self.team.app(scope, receive, send)
        return int(status[0])


@contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    """Yield a service whose data are in a folder, in front of a server that listens meanwhile."""
    recorder = Recorder()
    with recorder.listening():
        site = Site(folder, recorder)
        yield site
        site.service.close()

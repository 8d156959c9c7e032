"""How requests are passed on to MLflow and optuna-dashboard: queries, bodies, headers, bytes."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from hpsearch.service.app import MAX_BODY
from hpsearch.service.forwarding import MAX_QUERY
from hpsearch.service.pages import mlflow
from tests.support.forwarding import API, Site, site_in
from tests.support.serving import served


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        ("runs/get?run_id=a%2Fb%3F%26", "runs/get?run_id=a%2Fb%3F%26"),
        ("runs/get?run_id=%61&run_id=b", "runs/get?run_id=a&run_id=b"),
        (
            "registered-models/search?filter=name%20LIKE%20'%25a%25'",
            "registered-models/search?filter=name+LIKE+%27%25a%25%27",
        ),
        ("registered-models/get?name=m%C3%BCsli+1", "registered-models/get?name=m%C3%BCsli+1"),
        ("artifacts/list?run_id=1&path=a%20b/c..d", "artifacts/list?run_id=1&path=a+b%2Fc..d"),
        ("runs/get", "runs/get"),
        ("runs/get?", "runs/get"),
    ],
)
def test_a_query_is_encoded_anew(site: Site, sent: str, passed_on: str) -> None:
    assert asyncio.run(site.ask("GET", f"/mlflow{API}/{sent}")) == 200
    assert site.take() == [("GET", f"{API}/{passed_on}")]


@pytest.mark.parametrize(
    "sent",
    [
        *("runs/get?run_id=1&x=2", "runs/get?run_id", "runs/get?run_id=1&&run_id=2"),
        *("runs/get?run_id=%00", "runs/get?run_id=%0d%0a", "runs/get?run_id=%c2%85"),
        *(
            "runs/get?run_id=%C0%AF",
            "runs/get?run_id=%zz",
            "runs/get?run_id=%",
            "runs/get?run_id=\xff",
        ),
        *(
            "runs/get?run_id=1#x",
            "runs/get?run_id=<b>",
            "runs/get?run_id=a b",
            "runs/get?run_id=\\",
        ),
        "artifacts/list?run_id=1&path=../../secret",
        "artifacts/list?run_id=1&path=a/..",
        "artifacts/list?run_id=1&path=a%2F..%2Fb",
        "artifacts/list?run_id=1&path=%2e%2e/b",
        "artifacts/list?run_id=1&path=%252e%252e/b",
        "artifacts/list?run_id=1&path=..%5Cb",
        "artifacts/list?run_id=1&path=/etc/passwd",
        "artifacts/list?run_id=1&path=./x",
        "logged-models/m-1/artifacts/files?artifact_file_path=a/../../b",
        "logged-models/m-1/artifacts/directories?artifact_directory_path=..",
        f"runs/get?run_id={'a' * MAX_QUERY}",
        "runs/get?" + "&".join(["run_id=1"] * 1001),
    ],
)
def test_a_query_that_is_not_plain_is_refused(site: Site, sent: str) -> None:
    assert asyncio.run(site.ask("GET", f"/mlflow{API}/{sent}")) == 400
    assert site.take() == []


def test_the_dashboard_is_asked_with_known_parameters_alone(site: Site) -> None:
    study = f"/api/studies/{site.number}"
    assert asyncio.run(site.ask("GET", f"{study}?after=1")) == 200
    assert site.take() == [("GET", f"{study}?after=1")]
    for query in ("x=1", "after=1%00", "after", "after=1#"):
        assert asyncio.run(site.ask("GET", f"{study}?{query}")) == 400
    assert site.take() == []


def test_a_body_is_a_json_object_that_is_written_anew(site: Site) -> None:
    target = f"/mlflow{API}/runs/search"
    sent = b' {"filter": "a", "filter": "b\xc3\xa9", "max_results" : 1e1}'
    assert asyncio.run(site.ask("POST", target, body=sent)) == 200
    ((*_, body),) = site.recorder.seen
    assert body == b'{"filter": "b\\u00e9", "max_results": 10.0}'
    site.take()
    for refused in (
        *(b"", b"[]", b"1", b"{", b'{"a": NaN}', b'{"a": 1e999}', b"\xff", b'{"a": "\xff"}'),
        *(b'{"a": ' + b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"),
        b'{"a": "' + b"x" * mlflow.MAX_BODY + b'"}',
    ):
        assert asyncio.run(site.ask("POST", target, body=refused)) in (400, 415), refused[:20]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"Content-Type": kind}
        assert asyncio.run(site.ask("POST", target, **headers)) == 415
    assert asyncio.run(site.ask("POST", target, body=b" " * (MAX_BODY + 1))) == 413
    assert site.take() == []


@pytest.mark.parametrize(
    "query",
    [
        "mutation { mlflowSearchRuns(input: {}) { apiError { code } } }",
        "mutation A { testMutation { output } } query B { mlflowGetRun { x } }",
        "subscription { mlflowGetRun { x } }",
        "{ __schema { types { name } } }",
        "{ a: mlflowSearchDatasets { x } }",
        "{ mlflowGetRun { x } test { output } }",
        "{ ...f } fragment f on Query { test { output } }",
        "{ ... on Query { test { output } } }",
        "type A { b: Int }",
        "extend type Query { x: Int }",
        "{" * 5000,
        "{ mlflowGetRun" * 3000,
        "",
    ],
)
def test_graphql_only_reads(site: Site, query: str) -> None:
    body = json.dumps({"query": query}).encode()
    assert asyncio.run(site.ask("POST", "/mlflow/graphql", body=body)) in (400, 405)
    assert site.take() == []


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"query": 1}, {"query": None}, {"query": ["{ mlflowGetRun { x } }"]}),
        {"query": "{ mlflowGetRun { x } }", "variables": [1]},
        {"query": "{ mlflowGetRun { x } }", "operationName": {}},
    ],
)
def test_a_request_of_graphql_has_its_form(site: Site, body: dict[str, Any]) -> None:
    sent = json.dumps(body).encode()
    assert asyncio.run(site.ask("POST", "/mlflow/graphql", body=sent)) == 400
    assert site.take() == []


def test_a_query_of_graphql_is_written_anew(site: Site) -> None:
    query = (
        '#comment\nquery GetRun($data: MlflowGetRunInput!) @component(name: "MLflow.X") '
        "{ mlflowGetRun(input: $data) { ...f } } fragment f on MlflowGetRunResponse { run { x } }"
    )
    sent = {"operationName": "GetRun", "variables": {"data": {"runId": "1"}}, "query": query}
    body = json.dumps(sent | {"extensions": {"persistedQuery": 1}}).encode()
    assert asyncio.run(site.ask("POST", "/mlflow/graphql", body=body)) == 200
    ((*_, seen),) = site.recorder.seen
    site.take()
    passed = json.loads(seen)
    assert passed == sent | {"query": passed["query"]}
    assert passed["query"].startswith("query GetRun($data: MlflowGetRunInput!) @component")


def test_no_header_of_the_client_decides_anything(site: Site) -> None:
    """The server behind gets headers that the service makes, and a few of who asks."""
    headers = {
        "Accept": "text/html",
        "Accept-Encoding": "gzip, br",
        "Authorization": "Bearer secret",
        "Connection": "keep-alive, X-Real-IP",
        "Content-Encoding": "gzip",
        "Host": "evil",
        "If-None-Match": '"tag"',
        "Origin": "http://evil",
        "Range": "bytes=0-1",
        "Transfer-Encoding": "chunked",
        "Upgrade": "websocket",
        "X-Forwarded-Host": "evil",
        "X-HTTP-Method": "DELETE",
        "X-HTTP-Method-Override": "DELETE",
        "X-MLFLOW-WORKSPACE": "other",
        "X-Method-Override": "DELETE",
        "X-Original-URL": "/ajax-api/2.0/mlflow/runs/delete",
        "X-Rewrite-URL": "/ajax-api/2.0/mlflow/runs/delete",
    }
    target = f"/mlflow{API}/runs/search"
    assert asyncio.run(site.ask("POST", target, body=b"{ }", **headers)) == 200
    ((method, path, seen, body),) = site.recorder.seen
    site.take()
    assert (method, path, body) == ("POST", f"{API}/runs/search", b"{}")
    host = site.recorder.uri.removeprefix("http://")
    assert seen.pop("user-agent").startswith("python-requests/")
    assert seen == {
        "accept": "text/html",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "content-length": "2",
        "content-type": "application/json",
        "host": host,
        "if-none-match": '"tag"',
    }


def test_no_header_of_the_server_behind_decides_anything(site: Site) -> None:
    client = TestClient(site.team.app, headers={"Cookie": site.cookies["user"]})
    answer = client.get(f"/mlflow{API}/registered-models/get?name=a")
    assert (answer.status_code, answer.text) == (200, "{}")
    assert not {"set-cookie", "access-control-allow-origin", "server"} & set(answer.headers)
    moved = client.get(
        f"/mlflow{API}/registered-models/get?name=elsewhere", follow_redirects=False
    )
    assert (moved.status_code, "location" in moved.headers) == (502, False)
    assert len(site.take()) == 2  # it was not followed either


def test_a_websocket_leads_nowhere(site: Site) -> None:
    client = TestClient(site.team.app, headers={"Cookie": site.cookies["admin"]})
    for path in ("/mlflow/", f"/mlflow{API}/runs/search", "/api/meta"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass
    assert site.take() == []


@pytest.mark.parametrize(
    ("line", "more"),
    [
        ("POST {API}/experiments/create%3Fx=/search", ""),
        ("POST {API}/experiments/create%23/search", ""),
        ("POST http://hpsearch{API}/experiments/create?/search", ""),
        ("POST {API}/runs/search/../delete", ""),
        ("POST {API}/runs/search HTTP/1.1\r\nX: ", "Transfer-Encoding: chunked\r\n"),
        ("POST {API}/runs/search\t{API}/runs/delete", ""),
        ("GET {API}/webhooks", "X-HTTP-Method-Override: POST\r\n"),
        ("POST /mlflow/%2e%2e{API}/runs/delete", ""),
    ],
)
def test_on_a_socket_nothing_gets_through_either(site: Site, line: str, more: str) -> None:
    """As bytes to the real HTTP server in front, two of them with a request hidden in the body."""
    hidden = f"POST /mlflow{API}/runs/delete HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}"
    request = (
        line.replace("{API}", f"/mlflow{API}") + " HTTP/1.1\r\nHost: hpsearch\r\n"
        f"Cookie: {site.cookies['user']}\r\nSec-Fetch-Site: same-origin\r\n{more}"
        f"Content-Type: application/json\r\nContent-Length: {len(hidden) + 5}\r\n"
        f"Connection: close\r\n\r\n0\r\n\r\n{hidden}"
    )
    with served(site.team.app) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.sendall(request.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 [345]", answer), answer[:200]
    assert site.take() == []

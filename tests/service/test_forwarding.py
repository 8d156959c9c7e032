"""What is passed on to MLflow and to optuna-dashboard, of every route that they register."""

from __future__ import annotations

import asyncio
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from hpsearch.service.forwarding import MAX_PATH, Route
from hpsearch.service.pages import dashboard, mlflow
from tests.support.forwarding import ROLES, Site, site_in

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get")
QUERY = json.dumps({"query": "{ mlflowGetRun(input: {runId: 1}) { run { info { runName } } } }"})
DASHBOARD = (*dashboard.FRAME_ROUTES, *dashboard.STUDY_ROUTES)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_in(tmp_path_factory.mktemp("site")) as site:
        yield site


def encodings(path: str) -> dict[str, str]:
    """Return other spellings of a path, which one reader or another takes for it."""
    head, _, last = path.rpartition("/")
    return {
        "an encoded slash": f"{head}%2F{last}",
        "a slash that is encoded twice": f"{head}%252f{last}",
        "an encoded question mark": f"{path}%3Fx=/search",
        "an encoded hash": f"{path}%23/search",
        "an encoded backslash": f"{head}%5C{last}",
        "a dot segment": f"{head}/./{last}",
        "a step back": f"{head}/x/../{last}",
        "a parameter": f"{path};a=b",
        "a null byte": f"{path}%00",
        "an overlong slash": f"{head}%C0%AF{last}",
    }


def odd_spellings(path: str) -> dict[str, str]:
    """Return more of them, which no server should take for it."""
    head, _, last = path.rpartition("/")
    return {
        "an encoded step back": f"{head}/x/%2e%2e/{last}",
        "a slash at the end": f"{path}/",
        "a dot at the end": f"{path}.",
        "a backslash": f"{head}\\{last}",
        "a line break": f"{path}%0d%0aX: y",
        "an encoded letter": f"/%{ord(path[1]):02x}{path[2:]}",
        "two slashes": f"{head}//{last}",
        "upper case": re.sub("^/[^/]*", lambda first: first[0].upper(), path),
        "a wide letter": f"{head}/%EF%BD%81{last}",
        "a raw byte": f"{head}/{last}\xff",
        "another host": f"http://evil{path}",
        "a hash": f"{path}#/search",
        "a space": f"{path} /search",
        "too long": f"{path}/{'a' * MAX_PATH}",
    }


@cache
def mlflow_routes() -> list[tuple[str, str]]:
    """Return (method, path) of each route of the installed MLflow, with examples filled in."""
    from fastapi.routing import iter_route_contexts
    from mlflow.server import app as flask_app

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what MLflow itself uses
        from mlflow.server.fastapi_app import create_fastapi_app

    found: set[tuple[str, str]] = set()
    for rule in flask_app.url_map.iter_rules():
        found |= {(method, rule.rule) for method in rule.methods or ()}
    for context in iter_route_contexts(create_fastapi_app().routes):
        found |= {(method, str(context.path)) for method in context.methods or ()}
    return sorted({(method, _filled(path, 7)) for method, path in found})


def dashboard_routes(number: int) -> list[tuple[str, str]]:
    """Return (method, path) of each route of the installed optuna-dashboard."""
    from optuna.storages import InMemoryStorage
    from optuna_dashboard._app import create_app

    routes = create_app(InMemoryStorage()).routes
    return sorted({(route.method, _filled(route.rule, number)) for route in routes})


def _filled(path: str, number: int) -> str:
    """Return a route with examples for its parameters, in the notations of Flask and others."""
    path = path.replace("<:re:(/.*)?>", f"/studies/{number}")
    path = re.sub(r"<\w+:path>|<path:\w+>|\{\w+:path\}", "a/b.js", path)
    path = re.sub(r"<\w+:int>|<int:\w+>", str(number), path)
    path = re.sub(r"<(\w+:)?re:[^>]*>|<\w+>|\{\w+\}", "m-1", path)
    assert not re.search(r"[<>{}]", path), path
    return path


def _is_listed(routes: Iterable[Route], method: str, path: str) -> bool:
    """Whether a list has a route, by another reading than the service's own."""
    kinds = {"{}": "[^/]+", "{int}": "[0-9]+", "{*}": ".+"}
    for route in routes:
        parts = re.split(r"(\{(?:int|\*)?\})", route.template)
        pattern = "/" + "".join(kinds.get(part, re.escape(part)) for part in parts)
        if route.method == method and re.fullmatch(pattern, path):
            return True
    return False


def _body(path: str) -> bytes:
    return QUERY.encode() if path.startswith("/graphql") else b"{}"


def test_of_all_routes_of_mlflow_those_on_the_list_are_passed_on(site: Site) -> None:
    routes = mlflow_routes()
    assert len(routes) > 800  # HEAD and OPTIONS among them

    async def ask_all(role: str | None) -> int:
        passed = set()
        for method, path in routes:
            status = await site.ask(method, f"/mlflow{path}", role, _body(path))
            is_listed = role is not None and _is_listed(mlflow.ROUTES, method, path)
            assert site.take() == [(method, path)] * is_listed, (method, path)
            assert (status == 200) == is_listed, (method, path, status)
            passed |= {(method, path)} if is_listed else set()
        return len(passed)

    for role in ROLES:  # each line of the list is a route that is there
        assert asyncio.run(ask_all(role)) == len(mlflow.ROUTES)
    assert asyncio.run(ask_all(None)) == 0


def test_no_other_spelling_of_a_route_of_mlflow_is_passed_on(site: Site) -> None:
    routes = {each for each in mlflow_routes() if each[0] not in ("HEAD", "OPTIONS")}

    async def ask_all() -> int:
        asked = 0
        for method, path in sorted(routes):
            for spelling in encodings(path).values():
                for role in (*ROLES, None):
                    status = await site.ask(method, f"/mlflow{spelling}", role, _body(path))
                    assert (site.take(), status >= 300) == ([], True), (method, spelling, role)
                    asked += 1
            for spelling in odd_spellings(path).values() if len(path) > 1 else ():
                status = await site.ask(method, f"/mlflow{spelling}", "user", _body(path))
                assert (site.take(), status >= 300) == ([], True), (method, spelling)
        return asked

    assert asyncio.run(ask_all()) == len(routes) * 10 * 4


def test_of_all_routes_of_the_dashboard_those_on_the_list_are_passed_on(site: Site) -> None:
    routes = dashboard_routes(site.number)
    assert len(routes) > 30

    async def ask_all(role: str | None) -> None:
        for method, path in routes:
            await site.ask(method, path, role)
            is_listed = role is not None and _is_listed(DASHBOARD, method, path)
            assert site.take() == [(method, path)] * is_listed, (method, path)
            for spelling in (encodings(path) | odd_spellings(path + "x")).values():
                await site.ask(method, spelling, role)
                assert site.take() == [], (method, spelling)

    for role in (*ROLES, None):
        asyncio.run(ask_all(role))


def test_no_other_method_is_passed_on(site: Site) -> None:
    listed = {path for method, path in mlflow_routes() if _is_listed(mlflow.ROUTES, method, path)}

    async def ask_all() -> None:
        for path in listed:
            for method in METHODS:
                await site.ask(method, f"/mlflow{path}", "admin", _body(path))
                is_listed = _is_listed(mlflow.ROUTES, method, path)
                assert site.take() == [(method, path)] * is_listed, (method, path)
        for path in (f"/api/studies/{site.number}", "/dashboard", "/api/meta"):
            for method in METHODS[1:]:
                await site.ask(method, path, "admin")
                assert site.take() == []

    asyncio.run(ask_all())

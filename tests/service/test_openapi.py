"""Requests made up from the OpenAPI document: whatever comes, no answer is a failure inside."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.team import Team

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


SETTINGS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_no_request_fails_inside(team: Team) -> None:
    team.add_finished("done")
    team.add("waits")
    team.service.lease.acquire()
    team.service.lease.note_pass()
    headers = {"Authorization": team.admin.headers["Authorization"]}
    document = schemathesis.openapi.from_asgi("/openapi.json", team.app)
    tried = []
    for found in document.exclude(path="/api/v1/events").get_all_operations():  # it never ends
        operation = found.ok()

        @SETTINGS
        @given(case=operation.as_strategy(), name=st.sampled_from(["done", "waits", None]))
        def request(case: Any, name: str | None) -> None:
            if "name" in case.path_parameters and name is not None:
                case.path_parameters["name"] = name
            case.call_and_validate(headers=headers, checks=CHECKS)

        request()
        tried.append(operation.label)
    assert len(tried) > 20

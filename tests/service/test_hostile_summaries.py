"""Records whose fields a driver of a user's has made up: no list, page or quota follows them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from hpsearch.record import Record
from hpsearch.service.cache.search_list import to_json
from hpsearch.service.http.schemas import SearchPage
from hpsearch.service.jobs import Job, JobState
from hpsearch.service.reconciler import MAX_STALLS
from hpsearch.service.summaries import MAX_REASON, checked_summary, clean_text
from tests.support.reconciling import Place
from tests.support.team import API

MARKUP = "<script>alert('x')</script><img src=x onerror=alert(1)>"
HALF = "\ud800"
CONTROL = "\x1b[2J\x00\x07\r\u202e"
TEXT = f"{MARKUP}{HALF}{CONTROL}"
HUGE = 10**400
NUMBERS = (math.nan, math.inf, -math.inf, -1e300, 1e300, HUGE, -HUGE, -1, 0.5, True)
OTHERS = (TEXT, [], {}, [TEXT], {TEXT: TEXT}, None, b"\xff")
COUNTS = ("best_trial", "leader_trial", "leader_epochs", "trials", "ended", "running")
FIELDS = (*checked_summary({}),)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.service.close()


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_of_a_summary_is_of_its_kind_or_unknown(name: str) -> None:
    for value in (*NUMBERS, *OTHERS):
        summary = checked_summary({name: value})
        kept = summary.pop(name)
        assert set(summary.values()) == {None}
        json.loads(json.dumps(kept, allow_nan=False).encode("ascii"))
        if isinstance(kept, str):
            assert name in ("metric", "warning", "waiting_for", "paused_by")
            kept.encode()
            assert not re.search("[\x00-\x1f]", kept)
        elif name in COUNTS:
            assert kept is None or (isinstance(kept, int) and kept >= 0)
        elif kept is not None:
            assert isinstance(kept, float | int)
            assert "value" in name or kept >= 0


def test_fields_that_are_right_are_kept_and_others_dropped() -> None:
    right = {
        "state": "finished",
        "metric": "recall@10 é",
        "direction": "minimize",
        "ended": 3,
        "best_value": -0.5,
        "gpu_seconds": 1.5,
        "leader_value": 2,
    }
    kept = checked_summary(right | {"other": 1})
    assert {name: kept[name] for name in right} == right
    assert set(kept) == set(FIELDS)
    assert checked_summary({"state": "odd", "direction": "up"})["state"] is None


def test_texts_keep_their_lines_and_lose_what_terminals_obey() -> None:
    assert clean_text("a\tb\nü 漢 🙂") == "a\tb\nü 漢 🙂"
    assert clean_text(CONTROL + HALF) == "\ufffd[2J" + "\ufffd" * 5
    assert len(clean_text("x" * 10_000, MAX_REASON)) == MAX_REASON


@pytest.mark.parametrize("value", [*NUMBERS, *OTHERS[:-1]])
def test_json_can_be_read_by_everybody(value: object) -> None:
    told = to_json({"a": [value, {"b": value}], "c": 1.5, "d": "é"})
    assert told.isascii()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    again = json.loads(told, parse_constant=refuse)
    json.dumps(again, ensure_ascii=False).encode()
    assert (again["c"], again["d"]) == (1.5, "é")


#: what a driver may write of itself: attributes of its study, or of a trial
LIES: dict[str, tuple[str, Any]] = {
    **{f"state {value!r}"[:40]: ("state", value) for value in (*OTHERS[:-1], "odd", 7)},
    **{f"reason {value!r}"[:40]: ("reason", value) for value in (TEXT, {TEXT: 1}, HUGE)},
    "sessions": ("sessions", [[math.nan, None]]),
    "sessions of texts": ("sessions", [[TEXT, TEXT]]),
    "no sessions": ("sessions", []),
    "ended_at": ("ended_at", TEXT),
    "result": ("result", {TEXT: TEXT}),
    "delivered": ("delivered", TEXT),
    **{
        f"metric {value!r}"[:40]: ("0", ("epoch:2", {"metrics": {"val_accuracy": value}, "at": 1}))
        for value in (*NUMBERS, *OTHERS[:-1])
    },
    "metric's name": ("0", ("epoch:2", {"metrics": {TEXT: 0.5, "val_accuracy": 0.7}, "at": 1})),
    "epoch": ("0", ("epoch:99999999999999999999", {"metrics": {"val_accuracy": 0.7}, "at": 1})),
    "epoch of text": ("0", (f"epoch:{MARKUP}", {"metrics": {}, "at": 1})),
    "moment": ("0", ("epoch:2", {"metrics": {"val_accuracy": 0.7}, "at": TEXT})),
    "attempts": ("0", ("attempted_at", [TEXT, -1e300, math.inf])),
    "warnings": ("0", ("warnings", [TEXT, f"{TEXT}: warning: {TEXT}"])),
    "errors": ("0", ("errors", [{"epoch": TEXT, "reason": TEXT, "traceback": TEXT}])),
    "values": ("0", ("values", {"model": {"name": TEXT}, TEXT: HUGE})),
    "outcome": ("0", ("end", {"outcome": TEXT, "reason": TEXT, "at": 1, "traceback": TEXT})),
    "a trial's reason": (
        "0",
        ("end", {"outcome": "failed", "reason": TEXT, "at": math.nan, "traceback": TEXT}),
    ),
    "checkpoint": ("0", ("checkpoint", f"../../{TEXT}")),
    "no spec": ("spec", {}),
    "its spec": ("spec", {"name": TEXT, "objective": {"metric": TEXT}}),
}


def _lie(record: Record, lie: tuple[str, Any]) -> None:
    key, value = lie
    if key == "0":
        record._set(0, *value)
    else:
        record._storage.set_study_user_attr(record._study_id, key, value)


@pytest.fixture
def client(place: Place) -> TestClient:
    client = TestClient(place.team.app, headers={"Sec-Fetch-Site": "same-origin"})
    token = place.service.tokens.create("vic", "viewer")
    client.post("/sign-in", data={"token": token}, headers={"Accept": "text/html"})
    client.headers["Authorization"] = f"Bearer {token}"
    return client


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_field_of_a_record_breaks_or_changes_what_others_see(
    place: Place, client: TestClient, lie: tuple[str, Any]
) -> None:
    _lie(place.run("liar"), lie)
    other = place.run("other")
    place.step()
    other.report(0, 2, {"val_accuracy": 0.8125})
    place.step(10)
    _expect_a_list_without_it(client)
    place.cluster.jobs["hpsearch-liar-1"] = Job(JobState.ENDED)
    for _ in range(8):  # it is started again or fails, and each pass comes to its end
        place.step(100)
    _expect_a_list_without_it(client)
    assert place.row("liar").actual in ("starting", "running", "finished", "stopped", "failed")
    assert place.used() >= 10 + 810  # the other's at least, whatever the liar tells
    assert client.get("/api/studies").status_code == 200


def _expect_a_list_without_it(client: TestClient) -> None:
    answer = client.get(f"{API}/searches")
    listed = SearchPage.model_validate_json(answer.text)
    summaries = {each.name: each.summary for each in listed.searches}
    assert summaries["other"]["leader_value"] == 0.8125
    assert (summaries["liar"]["metric"], summaries["liar"]["trials"]) == ("val_accuracy", 4)
    page = client.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, "0.8125" in page.text) == (200, True)
    own = client.get("/searches/liar", headers={"Accept": "text/html"})
    assert own.status_code == 200
    for text in (page.text, own.text):
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    detail = client.get(f"{API}/searches/liar")
    assert detail.status_code == 200
    samples = [
        sample
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    ]
    assert all(math.isfinite(each.value) for each in samples)


@pytest.mark.parametrize("path", ["trials", "curves", "best", "status", "report", "logs?trial=0"])
def test_what_a_record_holds_is_told_in_valid_answers(
    place: Place, client: TestClient, path: str
) -> None:
    record = place.run("liar")
    _lie(record, LIES["metric's name"])
    _lie(record, LIES["warnings"])
    _lie(record, ("result", {"test_metrics": {TEXT: math.nan}}))
    _lie(record, ("0", ("epoch:3", {"metrics": {"val_accuracy": 0.5, "a": math.inf}, "at": 9})))
    end = {"outcome": "completed", "reason": TEXT, "at": 10, "traceback": TEXT}
    _lie(record, ("0", ("end", end)))
    answer = client.get(f"{API}/searches/liar/{path}")
    assert answer.status_code == 200
    if answer.headers["content-type"] == "application/json":
        told = json.loads(answer.text, parse_constant=pytest.fail)
        json.dumps(told, ensure_ascii=False).encode()
    else:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", answer.text)


def test_a_reason_that_a_user_wrote_is_a_short_text(place: Place) -> None:
    row = place.team.add("a")
    changed = place.service.table.change(row, reason=TEXT + "x" * 10_000)
    assert changed is not None
    kept = place.row("a").reason
    assert kept == changed.reason
    assert kept is not None
    assert len(kept) == MAX_REASON
    kept.encode()
    assert "\x1b" not in kept


def test_the_reason_of_a_search_names_no_file_of_the_service(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.run("a")

    def look(submission_id: str) -> None:
        raise PermissionError(13, "Permission denied", "/srv/secret")

    monkeypatch.setattr(place.cluster, "look", look)
    for _ in range(MAX_STALLS + 1):
        place.step()
    row = place.row("a")
    assert row.desired == "failed"
    assert row.reason == "internal error; see the service's log"


def test_a_stop_of_a_search_whose_record_cant_be_read_is_carried_out(place: Place) -> None:
    record = place.run("liar")
    _lie(record, ("spec", {}))
    row = place.row("liar")
    place.service.table.change(row, desired="stopped")
    place.step()
    assert place.row("liar").actual == "stopping"
    assert place.row("liar").summary["warning"] == (
        "the record can't be read; these are its last known numbers"
    )
    place.cluster.jobs["hpsearch-liar-1"] = Job(JobState.ENDED)
    for _ in range(8):
        place.service.table.change(place.row("liar"), retry_at=0.0)
        place.step()
    assert place.row("liar").actual == "stopped"

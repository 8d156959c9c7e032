"""GPU time by the service's own clock, whatever a record tells of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from hpsearch.analysis.plain import plain_summary
from hpsearch.outcome import Outcome
from hpsearch.record import Origin, Record
from hpsearch.service.accounting import disagreement
from hpsearch.service.database.audit import read_audit
from hpsearch.service.database.metering import Meter
from hpsearch.service.database.search_table import SearchRow
from hpsearch.service.database.tokens import User
from hpsearch.service.jobs import Job, JobState
from hpsearch.service.queue import Quota
from tests.support.reconciling import PARAMS, Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.service.close()


def test_what_a_job_had_counts_until_the_next_look() -> None:
    meter = Meter().read("a-1", 100.0, 2.0)
    assert meter.gpu_seconds == 0.0  # nobody has seen it before
    meter = meter.read("a-1", 110.0, 0.5)
    assert meter.gpu_seconds == 20.0
    meter = meter.read("a-1", 112.0, 0.0)
    assert meter.gpu_seconds == 21.0
    assert meter.read("a-1", 500.0, 1.0).gpu_seconds == 21.0


def test_another_attempt_is_not_charged_for_the_time_between() -> None:
    meter = Meter("a-1", 100.0, 4.0, 50.0)
    again = meter.read("a-2", 1000.0, 1.0)
    assert again == Meter("a-2", 1000.0, 1.0, 50.0)


def test_a_clock_that_is_set_back_credits_nothing() -> None:
    meter = Meter("a-1", 100.0, 4.0, 50.0).read("a-1", 10.0, 4.0)
    assert (meter.gpu_seconds, meter.seen_at) == (50.0, 100.0)


@pytest.mark.parametrize(
    ("reported", "measured", "how"),
    [
        *((0.0, 0.0, None), (1000.0, 1100.0, None), (400.0, 900.0, None), (900.0, 500.0, None)),
        *((0.0, 2000.0, "less"), (None, 2000.0, "less"), (-1e9, 0.0, "less")),
        *((10_000.0, 0.0, "more"), (1e300, 1e6, "more")),
    ],
)
def test_a_record_that_cant_be_right_is_told(
    reported: float | None, measured: float, how: str | None
) -> None:
    told = disagreement(reported, measured)
    assert (told is None) == (how is None)
    assert how is None or f"{how} than the" in str(told)


def test_a_search_is_charged_for_what_ray_gave_it(place: Place) -> None:
    place.run("a", gpus=2.0)
    place.step()
    place.step(10)
    assert place.cluster.held is not None
    place.cluster.held["ray-a"] = 0.5
    place.step(10)
    place.step(10)
    assert place.used() == 20 + 20 + 5
    place.cluster.jobs["hpsearch-a-1"] = Job(JobState.ENDED, "ray-a", ended_at=place.now + 4)
    place.step(100)
    assert place.used() == 45 + 2
    place.step(100)
    assert place.used() == 47


def test_a_service_that_was_away_charges_what_went_on(place: Place) -> None:
    place.run("a")
    place.step()
    place.step(3600)  # by another process
    assert place.used() == 3600


def test_a_job_that_ray_forgot_is_not_charged_for_what_nobody_saw(place: Place) -> None:
    place.run("a")
    place.step()
    place.step(10)
    del place.cluster.jobs["hpsearch-a-1"]
    place.step(3600)
    assert place.used() == 10


def test_where_ray_cant_say_it_is_what_the_spec_asks_for(place: Place) -> None:
    place.run("a", search={"max_concurrent": 3})
    place.cluster.held = None
    place.step()
    place.step(10)
    assert place.used() == 30


def test_searches_of_one_user_add_up_and_others_are_theirs(place: Place) -> None:
    place.run("a")
    place.run("b", gpus=3.0)
    place.run("c", owner="bob", gpus=0.25)
    place.step()
    place.step(100)
    assert (place.used(), place.used("bob")) == (400, 25)


def test_two_reconcilers_charge_once(place: Place) -> None:
    place.run("a")
    place.step()
    one, other = place.reconciler(), place.reconciler()
    place.now += 10
    one.step()
    other.step()
    assert place.used() == 10


def test_a_quota_that_was_used_up_holds_though_the_record_denies_it(place: Place) -> None:
    """A driver that tells of no GPU time at all is told on, by page, API and audit log."""
    place.run("liar")
    place.service.quotas.set("ann", Quota(gpu_hours_per_month=1.0))
    place.step()
    place.step(7200)
    assert place.used() == 7200
    row = place.row("liar")
    assert row.summary["gpu_seconds"] == 7200
    assert row.summary["gpu_seconds_reported"] < 60
    assert "less than the 7200" in row.summary["warning"]
    place.service.table.add(_queued(place, "next"))
    place.step()
    assert "used this month's 1 GPU-hour" in str(place.row("next").reason)
    shown = place.team.ann.get("/api/v1/searches/liar").json()["summary"]
    assert shown["warning"] == row.summary["warning"]
    assert "less than the 7200" in place.team.ann.get("/api/v1/searches/liar/status").text
    assert "less than the 7200" in _page(place, "liar")
    (entry,) = [e for e in read_audit(place.service.engine) if e["action"] == "gpu time"]
    assert (entry["user"], entry["subject"]) == ("the service", "liar")
    assert "less than" in str(entry["detail"])
    place.step(2)  # and only once
    assert len([e for e in read_audit(place.service.engine) if e["action"] == "gpu time"]) == 1


def test_trials_beside_the_budget_are_planned_too(place: Place) -> None:
    """Of more that ended than were planned nobody could say how far the search is."""
    record = place.run("cloned")
    budget = record.spec.search.trials
    record.add_trial(PARAMS)
    for origin in (None, Origin("an act", 0), Origin("another", 0)):
        record.add_trial(PARAMS, origin=origin)
    record.end_trial(1, Outcome.CANCELLED)
    place.step()
    for _ in range(2):  # what was added isn't added again
        place.step()
        assert place.row("cloned").summary["trials"] == budget + 3
    assert plain_summary(record)["trials"] == budget + 3
    place.service.extend(User("ann", "user"), "cloned", trials=2)
    assert place.row("cloned").summary["trials"] == budget + 3 + 2


@pytest.mark.parametrize("moment", [math.nan, math.inf, -math.inf, -1e15, 1e300, 1e15, 0.0])
def test_no_time_in_a_record_changes_what_is_charged(place: Place, moment: float) -> None:
    record = place.run("liar")
    place.step()
    for key, value in {
        "attempted_at": [moment],
        "epoch:2": {"metrics": {"val_accuracy": 0.6}, "at": -moment},
        "end": {"outcome": "completed", "reason": None, "at": moment, "traceback": None},
    }.items():
        record._set(0, key, value)
    place.step(100)
    place.step(100)
    assert place.used() == 200
    summary = place.row("liar").summary
    assert summary["gpu_seconds"] == 200
    assert all(value is None or math.isfinite(value) for value in _numbers(summary))


def test_an_honest_search_is_not_suspected(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "now", staticmethod(lambda: place.now))
    record = place.run("honest", search={"trials": 8})
    place.step()
    for number in range(7):
        place.step(900)
        record.report(number, 2, {"val_accuracy": 0.6})
        record.end_trial(number, Outcome.COMPLETED)
        place.step(30)  # the next worker starts meanwhile
        _begin_trial(record)
    place.step(2)
    summary = place.row("honest").summary
    assert summary["warning"] is None
    assert summary["gpu_seconds_reported"] == 6300
    assert summary["gpu_seconds"] == pytest.approx(6512, abs=60)


def test_what_was_charged_before_the_service_had_a_clock_stays(place: Place) -> None:
    place.run("old")
    row = place.row("old")
    place.service.table.change(row, summary={**row.summary, "gpu_seconds": 5000.0})
    place.step()
    place.step(100)
    assert place.used() == 100
    assert place.service.meters.get(place.row("old")).gpu_seconds == 5100


def test_a_search_of_the_same_name_begins_at_nothing(place: Place) -> None:
    record = place.run("a")
    place.step()
    place.step(100)
    record.end("stopped")
    row = place.service.table.get("a")
    place.service.table.change(row, desired="stopped", actual="stopped")
    place.service.delete(_admin(place), "a")
    place.run("a")
    place.step()
    assert place.service.meters.get(place.row("a")).gpu_seconds == 0


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, -1e9, 0.0])
def test_only_a_positive_number_is_added_to_a_users_account(place: Place, seconds: float) -> None:
    place.service.quotas.add_usage("ann", 10.0)
    place.service.quotas.add_usage("ann", seconds)
    place.service.quotas.add_usage("bob", seconds)
    assert place.service.quotas.gpu_hours() == {"ann": 10 / 3600}


def _numbers(summary: dict[str, object]) -> list[float]:
    return [each for each in summary.values() if isinstance(each, int | float)]


def _queued(place: Place, name: str) -> SearchRow:
    return replace(place.row("liar"), name=name, desired="queued", actual="queued", attempt=0)


def _page(place: Place, name: str) -> str:
    client = TestClient(place.team.app, headers={"Sec-Fetch-Site": "same-origin"})
    client.post("/sign-in", data={"token": place.service.tokens.create("vic", "viewer")})
    return client.get(f"/searches/{name}", headers={"Accept": "text/html"}).text


def _admin(place: Place) -> User:
    return place.service.tokens.authenticate(place.service.tokens.create("root", "admin"))


def _begin_trial(record: Record) -> None:
    record.start_attempt(record.add_trial(PARAMS).number)

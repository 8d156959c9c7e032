"""Acts on a running search by HTTP and by the forms of its page; its driver is the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpsearch.acts import pending
from hpsearch.cli.remote import RemoteSearches
from hpsearch.errors import ConflictError
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.runs import SearchFolder
from hpsearch.service.database.audit import read_audit
from hpsearch.tuning.user_acts import UserActs
from tests.support.browser import Visitor
from tests.support.serving import served
from tests.support.specs import make_spec
from tests.support.team import API, Team


class Running:
    """A search of ann's that runs, with two trials; `drive` takes acts as its driver would."""

    def __init__(self, team: Team) -> None:
        self.folder: SearchFolder = team.service.runs.create(
            make_spec(name="mine", search={"early_stopping": {"max_epochs": 27}})
        )
        self.record: Record = self.folder.take_over()
        lr = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
        for number in range(2):
            self.record.add_trial({"model.dropout": 0.1 * number, **lr})
            self.record.start_attempt(number)
            for epoch in range(1, 6):
                # the loss of the first jumps: its learning rate is too high
                loss = 3.0 + (-1) ** epoch if number == 0 else 1 / epoch
                self.record.report(number, epoch, {"val_accuracy": 0.5, "train_loss": loss})
        self.record.set_checkpoint(0, "trial-0000/epoch-0005.pt")
        team.add("mine", desired="running", actual="running")

    def drive(self) -> None:
        list(UserActs(self.record, self.folder.checkpoints, self.folder).take())

    @property
    def waiting(self) -> list[str]:
        return [act.action for act in pending(self.folder)]


@pytest.fixture
def running(team: Team) -> Iterator[Running]:
    """A search that runs."""
    return Running(team)


PLACE = f"{API}/searches/mine"
ACTS: list[tuple[str, dict[str, Any] | None, str]] = [
    ("trials/0/stop", None, "stop of trial 0"),
    ("trials/0/extend", {"to_epoch": 9}, "trial 0 to epoch 9"),
    (
        "trials/1/clone",
        {"values": {"optimizer.lr": 0.02}},
        "clone of trial 1 with optimizer.sgd.lr=0.02",
    ),
    (
        "narrow",
        {"parameter": "optimizer.sgd.lr", "high": 0.2},
        "optimizer.sgd.lr from 0.01 to 0.2, before 0.01 to 0.3",
    ),
    ("pause", None, "pause"),
]


@pytest.mark.parametrize(("place", "body", "told"), ACTS)
def test_an_act_waits_for_the_driver_and_is_in_the_record_as_its_users(
    team: Team, running: Running, place: str, body: dict[str, Any] | None, told: str
) -> None:
    asked = team.ann.post(f"{PLACE}/{place}", json=body)
    assert asked.status_code == 202, asked.text
    assert (asked.json()["user"], asked.json()["state"]) == ("ann", "waiting")
    assert [each["state"] for each in team.ann.get(f"{PLACE}/acts").json()] == ["waiting"]
    running.drive()
    (found,) = team.bob.get(f"{PLACE}/acts").json()
    assert (found["id"], found["state"], found["told"]) == (asked.json()["id"], "done", told)
    assert found["taken_at"] >= found["at"]
    assert found["made"] == (2 if "clone" in place else None)
    entry = read_audit(team.service.engine)[0]
    assert (entry["user"], entry["action"], entry["subject"]) == ("ann", "act", "mine")


@pytest.mark.parametrize(("place", "body", "_"), ACTS)
def test_only_the_owner_and_admins_act(
    team: Team, running: Running, place: str, body: dict[str, Any] | None, _: str
) -> None:
    for client, why in (
        (team.bob, "belongs to ann: only they may act on it"),
        (team.viewer, "vi"),
    ):
        refused = client.post(f"{PLACE}/{place}", json=body)
        assert (refused.status_code, why in refused.text) == (403, True)
    assert team.anyone.post(f"{PLACE}/{place}", json=body).status_code == 401
    assert not running.waiting
    assert team.admin.post(f"{PLACE}/{place}", json=body).status_code == 202
    assert [act.user for act in pending(running.folder)] == ["root"]


@pytest.mark.parametrize(
    ("place", "body", "status", "told"),
    [
        ("trials/7/stop", None, 404, "mine has no trial 7; it has 2 trials"),
        ("trials/0/extend", {"to_epoch": 5}, 422, "to_epoch: must be from 6 to 10000000"),
        ("trials/0/clone", {"values": {"batch_size": 33}}, 422, "must be one of 32, 64"),
        ("trials/0/clone", {"values": {"x": 1e300}}, 422, "x: must be a hyperparameter"),
        (
            "trials/0/extend",
            {"to": 9},
            422,
            "body.to_epoch: must be given\nbody.to: must be a known k",
        ),
        ("narrow", {"parameter": "optimizer.sgd.lr", "low": 0.001}, 422, "must be "),
        ("narrow", {"parameter": "batch_size", "low": 1}, 422, "a hyperparameter with a range"),
    ],
)
def test_what_can_not_be_done_is_said_before_anything_is_asked(
    team: Team, running: Running, place: str, body: dict[str, Any] | None, status: int, told: str
) -> None:
    answer = team.ann.post(f"{PLACE}/{place}", json=body)
    assert (answer.status_code, told in answer.json()["error"]["message"]) == (status, True)
    assert not running.waiting


def test_acts_on_a_search_that_does_not_run_say_what_to_do(team: Team) -> None:
    team.add_finished("done")
    team.add("waits")
    team.add("begins", desired="running", actual="starting")
    for name, told in (
        ("done", "but it is finished: `hpsearch extend done` gives it more budget"),
        ("waits", "waits must be running to be acted on, but it is queued"),
        ("begins", "begins has not started yet"),
    ):
        answer = team.ann.post(f"{API}/searches/{name}/pause")
        assert (answer.status_code, told in answer.json()["error"]["message"]) == (409, True)


def test_a_paused_search_is_resumed(team: Team, running: Running) -> None:
    refused = team.ann.post(f"{PLACE}/resume")
    assert "must be stopped, failed or paused to be resumed" in refused.text
    team.ann.post(f"{PLACE}/pause")
    running.drive()
    assert running.record.paused_by is not None
    assert "is paused already, by ann" in team.ann.post(f"{PLACE}/pause").text
    assert team.ann.post(f"{PLACE}/resume").status_code == 202
    running.drive()
    assert running.record.paused_by is None
    assert team.service.table.get("mine").actual == "running"


def test_the_command_line_waits_for_the_driver_and_hears_its_refusal(
    team: Team, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = team.service.tokens.create("ann", "user")
    with served(team.app) as address:
        searches = RemoteSearches(address, token)
        monkeypatch.setattr("hpsearch.cli.remote.time.sleep", lambda _: running.drive())
        done = searches.act("mine", "extend_trial", trial=0, to_epoch=9)
        assert (done["state"], running.record.trials[0].goal is not None) == ("done", True)

        def end_and_drive(_: float) -> None:
            running.record.end_trial(1, Outcome.COMPLETED)
            running.drive()

        monkeypatch.setattr("hpsearch.cli.remote.time.sleep", end_and_drive)
        with pytest.raises(ConflictError, match="trial 1 has ended: completed"):
            searches.act("mine", "stop_trial", trial=1)
        assert [each["state"] for each in searches.acts("mine")] == ["done", "refused"]


FORMS: list[tuple[str, dict[str, str], str]] = [
    ("trials/0/stop", {}, "stop_trial"),
    ("trials/0/extend", {"to_epoch": "12"}, "extend_trial"),
    ("trials/0/clone", {"parameter": "optimizer.sgd.lr", "value": "2e-2"}, "clone_trial"),
    ("narrow", {"parameter": "optimizer.sgd.lr", "low": "", "high": "0.2"}, "narrow"),
    ("pause", {}, "pause"),
]


@pytest.mark.parametrize(("place", "fields", "action"), FORMS)
def test_a_form_of_the_page_asks_for_the_act(
    team: Team, running: Running, visit: Visitor, place: str, fields: dict[str, str], action: str
) -> None:
    browser = visit("user", "ann")
    page = browser.get("/searches/mine").text
    assert f'action="/searches/mine/{place}"' in page
    sent = browser.post(f"/searches/mine/{place}", data=fields, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/searches/mine")
    assert running.waiting == [action]
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    refused = browser.post(f"/searches/mine/{place}", data=fields, headers=elsewhere)
    assert refused.status_code == 403
    assert running.waiting == [action]


def test_the_page_says_what_the_curves_of_running_trials_show(
    team: Team, running: Running, visit: Visitor
) -> None:
    page = visit("user", "ann").get("/searches/mine").text
    assert "learning rate too high: training loss still moves by 2 an epoch" in page
    assert "keep lr below 0.03333" in page
    others = visit("user", "bob").get("/searches/mine").text
    assert "learning rate too high" in others
    assert "trials/0/stop" not in others


def test_a_request_that_users_code_wrote_is_bounded(running: Running) -> None:
    running.folder.acts.mkdir(exist_ok=True)
    (running.folder.acts / "1.json").write_text("[" * 100_000)
    (running.folder.acts / "2.json").write_text('{"id": "2", "action": "explode"}')
    (running.folder.acts / "3.json").symlink_to(Path("/etc/passwd"))
    running.drive()
    assert not running.record.acts
    assert [path.name for path in running.folder.acts.iterdir()] == ["3.json"]

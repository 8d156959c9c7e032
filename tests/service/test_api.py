"""The HTTP interface over a real database and real records; searches that run: soak_service."""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hpsearch.outcome import Outcome
from hpsearch.record import EnsembleNote
from hpsearch.service.core import Service
from hpsearch.service.database.audit import read_audit
from hpsearch.service.launch import read_spec, with_stores
from hpsearch.service.settings import Settings
from hpsearch.tuning.output import output_file
from tests.support.breaking import TRAIN
from tests.support.cli import FIVE_MISTAKES
from tests.support.polling import wait_until
from tests.support.specs import make_spec
from tests.support.team import API, Team, upload

SPEC = """
name: {name}
objective: {{metric: score}}
trainable: train.py:train
space: {{x: {{low: 0.0, high: 1.0}}}}
"""


def test_a_search_is_submitted_with_its_code_once(team: Team) -> None:
    code_hash = upload(team.ann, train=TRAIN)
    assert team.ann.get(f"{API}/code/{code_hash}").status_code == 204
    body = {"spec": SPEC.format(name="mine"), "code_hash": code_hash, "priority": 3}
    headers = {"Idempotency-Key": "k1"}
    first = team.ann.post(f"{API}/searches", json=body, headers=headers)
    assert first.status_code == 201, first.text
    assert first.json()["owner"] == "ann"
    assert first.json()["state"] == "queued"
    again = team.ann.post(f"{API}/searches", json=body, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    taken = team.bob.post(f"{API}/searches", json=body)
    assert taken.status_code == 409
    assert "mine" in taken.json()["error"]["message"]
    assert "priority: 3" not in first.json()["spec"]
    assert team.ann.get(f"{API}/searches/mine").json() == first.json()


def test_a_search_of_several_objectives_is_listed_by_the_first(team: Team) -> None:
    several = "objectives: [{metric: score}, {metric: cost, direction: minimize}]"
    spec = SPEC.format(name="several").replace("objective: {metric: score}", several)
    body = {"spec": spec, "code_hash": upload(team.ann, train=TRAIN)}
    answer = team.ann.post(f"{API}/searches", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["summary"]["metric"] == "score"


def test_mistakes_are_all_told(team: Team) -> None:
    answer = team.ann.post(f"{API}/searches", json={"spec": FIVE_MISTAKES})
    assert answer.status_code == 422
    error = answer.json()["error"]
    problems = error["problems"]
    assert {"objective.metric", "model.name", "serach"} <= {p["place"] for p in problems}
    assert (
        "serach: must be a known key, but got 'serach'; did you mean 'search'?"
        in (error["message"])
    )
    assert team.ann.get(f"{API}/searches").json() == {"searches": [], "total": 0}


def test_a_problem_without_a_value_has_none(team: Team) -> None:
    spec = "name: a\nmodel: mlp\n"
    error = team.ann.post(f"{API}/searches", json={"spec": spec}).json()["error"]
    values = {problem["place"]: problem["value"] for problem in error["problems"]}
    assert values["objective"] is None


def test_lists_have_filters_and_pages(team: Team) -> None:
    for number in range(5):
        team.add(f"s{number}", "ann" if number % 2 else "bob")
    page = team.ann.get(f"{API}/searches", params={"limit": 2, "offset": 1}).json()
    assert ([each["name"] for each in page["searches"]], page["total"]) == (["s3", "s2"], 5)
    mine = team.ann.get(f"{API}/searches", params={"mine": True}).json()
    assert [each["name"] for each in mine["searches"]] == ["s3", "s1"]
    states = {"state": ["running", "finished"]}
    assert team.ann.get(f"{API}/searches", params=states).json()["total"] == 0


def test_what_a_search_holds_can_be_read(team: Team) -> None:
    team.add_finished("done")
    path = f"{API}/searches/done"
    trials = team.viewer.get(f"{path}/trials", params={"order": "leaders", "limit": 1}).json()
    assert (trials["total"], trials["trials"][0]["number"]) == (3, 2)
    assert trials["trials"][0]["warnings"] == {"symmetry": "all alike"}
    [first, *_] = team.viewer.get(f"{path}/curves").json()
    assert first["epochs"] == [1, 2, 3]
    assert first["values"] == pytest.approx([0.51, 0.52, 0.53])
    assert team.viewer.get(f"{path}/logs").text == "one line\nanother\n"
    printed = output_file(team.service.runs.search("done").outputs, 1)
    printed.parent.mkdir(exist_ok=True)
    printed.write_text("a print\n")
    told = team.viewer.get(f"{path}/logs", params={"trial": 1, "follow": True}).text
    assert told.startswith("a print\ntrial 1: completed")
    assert "val_accuracy 0.73" in team.viewer.get(f"{path}/status").text
    assert team.viewer.get(f"{path}/report").text.startswith("# done")
    assert "<html" in team.viewer.get(f"{path}/report", params={"form": "html"}).text
    diagnoses = team.viewer.get(f"{path}/diagnoses")
    assert diagnoses.status_code == 200
    assert all(number.isdecimal() for number in diagnoses.json())
    assert team.viewer.get(f"{path}/diagnoses?trial=99").status_code == 404
    wanted = {"target": [0.52, 2.0]}
    [found, never] = team.viewer.get(f"{path}/targets", params=wanted).json()
    assert (found["trial"], found["epoch"], never["epochs"]) == (0, 2, None)
    assert "| target | ≥ 0.52 |" in team.viewer.get(f"{path}/report", params=wanted).text
    assert team.viewer.get(f"{path}/targets?target=inf").status_code == 422
    best = team.viewer.get(f"{path}/best").json()
    assert (best["trial"], "name: done-best" in best["spec"]) == (2, True)
    model = team.viewer.get(f"{path}/model")
    assert model.content == b"weights"
    assert 'filename="done-trial-2.pt"' in model.headers["content-disposition"]


def test_the_checkpoints_of_an_ensemble_are_one_archive(team: Team) -> None:
    record = team.add_finished("done")
    path = f"{API}/searches/done/model"
    refused = team.viewer.get(path, params={"ensemble": True})
    assert refused.status_code == 409
    assert "done has no ensemble: search.ensemble asks for one" in refused.text
    record.set_ensemble(EnsembleNote((2, 0), {}, {}))
    refused = team.viewer.get(path, params={"ensemble": True})
    assert (refused.status_code, "trial 0 is not kept" in refused.text) == (409, True)
    other = team.service.runs.search("done").checkpoints / "trial-0" / "3.pt"
    other.parent.mkdir()
    other.write_bytes(b"others")
    answer = team.viewer.get(path, params={"ensemble": True})
    assert 'filename="done-ensemble.zip"' in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert {name: archive.read(name) for name in archive.namelist()} == {
        "trial-2.pt": b"weights",
        "trial-0.pt": b"others",
    }
    assert team.viewer.get(path).content == b"weights"


def test_the_services_own_stores_are_told_to_nobody(tmp_path: Path) -> None:
    secrets = {"storage": "postgresql://me:secret@db/x", "tracking_uri": "http://me:secret@ml"}
    (tmp_path / "runs").mkdir()
    database = f"sqlite:///{tmp_path / 'service.db'}"
    settings = Settings(tmp_path / "runs", database, "http://127.0.0.1:1", **secrets)
    assert "secret" not in repr(settings)
    team = Team(Service(settings))
    code_hash = upload(team.ann, train=TRAIN)
    body = {"spec": SPEC.format(name="mine"), "code_hash": code_hash}
    assert team.ann.post(f"{API}/searches", json=body).status_code == 201
    team.add_finished("done", tracking_uri=secrets["tracking_uri"])
    for path in ("searches/mine", "searches", "searches/done/best", "searches/done/report"):
        answer = team.viewer.get(f"{API}/{path}")
        assert (answer.status_code, "secret" in answer.text) == (200, False), path
    row = team.service.table.get("mine")
    spec = with_stores(read_spec(row.spec, tmp_path), settings)
    assert (spec.storage, spec.tracking_uri) == tuple(secrets.values())
    team.service.close()


def test_what_is_not_there_yet_is_told(team: Team) -> None:
    team.add("waits")
    for what in ("trials", "curves", "report", "best", "model"):
        answer = team.ann.get(f"{API}/searches/waits/{what}")
        assert (answer.status_code, "queued" in answer.text) == (409, True), what
    assert team.ann.get(f"{API}/searches/nothing").status_code == 404
    team.add_finished("done")
    assert team.ann.get(f"{API}/searches/done/logs", params={"trial": 9}).status_code == 404


def test_a_log_is_followed_to_its_end(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    row = team.add("live", desired="running", actual="running")
    log = team.service.runs.path / "live" / "driver.log"
    log.parent.mkdir()
    log.write_text("first\n")

    looks, source = [], team.service.files.driver_log

    def look(name: str) -> BinaryIO:
        looks.append(name)
        return source(name)

    monkeypatch.setattr(team.service.files, "driver_log", look)

    def go_on() -> None:
        wait_until(lambda: len(looks) > 2)  # the first line was sent, and no more found
        with log.open("a") as file:
            file.write("second\n")
        team.service.table.change(row, actual="finished")

    writer = threading.Thread(target=go_on)
    writer.start()
    text = team.ann.get(f"{API}/searches/live/logs", params={"follow": True}).text
    writer.join()
    assert text == "first\nsecond\n"


def test_users_change_their_own_searches_only(team: Team) -> None:
    team.add("a", "ann")
    for client in (team.bob, team.viewer):
        for action in ("stop", "resume"):
            assert client.post(f"{API}/searches/a/{action}").status_code == 403
        assert client.post(f"{API}/searches/a/extend", json={"trials": 1}).status_code == 403
        assert client.delete(f"{API}/searches/a").status_code == 403
    assert team.viewer.post(f"{API}/searches", json={"spec": "x"}).status_code == 403
    assert team.service.table.get("a").desired == "queued"
    refused = [each for each in read_audit(team.service.engine) if each["detail"]]
    assert {(each["user"], each["action"]) for each in refused} >= {("bob", "stop")}
    stopped = team.admin.post(f"{API}/searches/a/stop")
    assert (stopped.status_code, stopped.json()["reason"]) == (202, "stopped by root")


def test_a_search_goes_on_only_where_it_can(team: Team) -> None:
    team.add_finished("done")
    assert team.ann.post(f"{API}/searches/done/stop").status_code == 409
    assert team.ann.post(f"{API}/searches/done/resume").status_code == 409
    none = team.ann.post(f"{API}/searches/done/extend", json={"epochs": 5})
    assert (none.status_code, "search.epochs" in none.text) == (422, True)
    more = team.ann.post(f"{API}/searches/done/extend", json={"trials": 2})
    assert (more.status_code, more.json()["state"]) == (202, "queued")
    assert "trials: 6" in team.service.table.get("done").spec


def test_a_search_is_deleted_with_its_files(team: Team) -> None:
    team.add_finished("done")
    team.add("runs", actual="running", desired="running")
    assert team.ann.delete(f"{API}/searches/runs").status_code == 409
    assert team.ann.delete(f"{API}/searches/done").status_code == 204
    assert team.ann.get(f"{API}/searches/done").status_code == 404
    assert "done" not in team.service.runs.names()


def test_nobody_gets_in_without_a_token(team: Team) -> None:
    for client_headers in ({}, {"Authorization": "Bearer hps_x"}, {"Authorization": "Basic x"}):
        answer = team.anyone.get(f"{API}/searches", headers=client_headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for _ in range(20):
        last = team.anyone.get(f"{API}/me", headers={"Authorization": "Bearer hps_x"})
    assert last.status_code == 429
    assert team.ann.get(f"{API}/me").json()["user"] == "ann"  # from the same address
    failures = [e for e in read_audit(team.service.engine) if e["action"] == "login"]
    assert len(failures) == 10


def test_tokens_and_quotas_are_the_admins(team: Team) -> None:
    for path in ("tokens", "quotas", "audit"):
        assert team.ann.get(f"{API}/{path}").status_code == 403
    made = team.admin.post(f"{API}/tokens", json={"user": "new", "role": "viewer"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert team.anyone.get(f"{API}/me", headers=headers).json()["role"] == "viewer"
    assert made["token"] not in team.admin.get(f"{API}/tokens").text
    identity = made["token"].split("_")[1]
    assert team.admin.delete(f"{API}/tokens/{identity}").status_code == 204
    assert team.anyone.get(f"{API}/me", headers=headers).status_code == 401
    quota = {"max_running": 2, "gpu_hours_per_month": 10.5}
    assert team.admin.put(f"{API}/quotas/ann", json=quota).status_code == 204
    assert team.ann.get(f"{API}/me").json() | quota == team.ann.get(f"{API}/me").json()
    assert team.admin.get(f"{API}/quotas").json()[0]["user"] == "ann"


def test_changes_are_streamed(team: Team) -> None:
    row = team.add("a")
    with team.ann as client:  # starts what runs beside the application
        changer = threading.Timer(1.5, lambda: team.service.table.change(row, reason="it waits"))
        changer.start()
        events = []

        async def first_event() -> None:
            feed = team.app.state.feed
            async for search in feed.listen():
                events.append(search)
                return

        assert client.portal is not None
        client.portal.call(first_event)
        changer.join()
    assert [(event.name, event.reason) for event in events][-1][0] == "a"


def test_the_name_of_a_deleted_search_stays_its_owners(team: Team) -> None:
    code_hash = upload(team.ann, train=TRAIN)
    body = {"spec": SPEC.format(name="mine"), "code_hash": code_hash}
    assert team.ann.post(f"{API}/searches", json=body).status_code == 201
    since = team.service.table.name_since(team.service.table.get("mine"))
    assert team.ann.delete(f"{API}/searches/mine").status_code == 204
    refused = team.bob.post(f"{API}/searches", json=body)
    assert refused.status_code == 409
    assert (
        "'mine' is kept for MLflow runs of searches of ann" in refused.json()["error"]["message"]
    )
    assert not team.service.table.has("mine")
    assert team.ann.post(f"{API}/searches", json=body).status_code == 201
    row = team.service.table.get("mine")
    assert team.service.table.name_since(row) == since < row.created_at


def test_a_search_without_a_best_trial_says_why(team: Team) -> None:
    record = team.service.runs.create(make_spec(name="poor")).take_over()
    params = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
    record.add_trial({"model.dropout": 0.1, **params})
    team.add("poor", desired="running", actual="running")
    for path in ("best", "model"):
        answer = team.ann.get(f"{API}/searches/poor/{path}")
        assert answer.status_code == 409
        assert answer.json()["error"]["message"] == "poor: no trial has completed yet"
    record.end_trial(0, Outcome.OUT_OF_MEMORY, "it takes 90 GB")
    record.end("finished")
    for path in ("best", "model"):
        answer = team.ann.get(f"{API}/searches/poor/{path}")
        assert answer.status_code == 409
        assert "none of 1 trial completed: " in answer.json()["error"]["message"]
        assert "90 GB" in answer.json()["error"]["message"]


def test_metrics_health_and_readiness(team: Team) -> None:
    team.add_finished("done")
    team.add("waits")
    assert team.anyone.get("/health").json() == {"status": "ok"}
    assert team.anyone.get("/ready").status_code == 503
    team.service.lease.acquire()
    team.service.lease.note_pass()
    assert team.anyone.get("/ready").status_code == 200
    assert team.anyone.get("/metrics").status_code == 401
    families = text_string_to_metric_families(team.viewer.get("/metrics").text)
    values = {
        (sample.name, sample.labels.get("state")): sample.value
        for family in families
        for sample in family.samples
    }
    assert values["hpsearch_searches", "finished"] == 1
    assert values["hpsearch_queue_length", None] == 1
    assert values["hpsearch_trials", "completed"] == 3
    assert values["hpsearch_epochs", None] == 9


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/searches/..%2f..%2fetc", {}, 404),
        ("GET", "/searches/a%00b", {}, 422),
        ("GET", "/searches", {"params": {"text": "\x00"}}, 422),
        ("GET", "/searches", {"params": {"limit": 10**30}}, 422),
        ("POST", "/searches", {"json": {"spec": "\ud800"}}, 422),
        ("POST", "/searches", {"json": {"spec": "[" * 10_000}}, 422),
        ("POST", "/searches", {"json": {"spec": "a", "code_hash": "0" * 64}}, 422),
        ("POST", "/searches", {"content": b"{" * 1_100_000}, 413),
        ("POST", "/searches", {"content": b"\xff\xfe"}, 422),
        ("POST", "/searches", {"content": b"[" * 100_000}, 422),
        ("PUT", f"/code/{'0' * 64}", {"content": b"x" * 100_001}, 413),
        ("PUT", f"/code/{'0' * 64}", {"content": b"x"}, 422),
        ("PUT", "/code/short", {"content": b"x"}, 422),
        ("POST", "/nothing", {}, 404),
        ("PATCH", "/searches", {}, 405),
    ],
)
def test_hostile_requests_get_one_clear_error(
    team: Team, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    if "\ud800" in str(options.get("json", {}).get("spec")):
        options = {"content": json.dumps(options["json"]).encode()}
    answer = team.ann.request(method, f"{API}{path}", **options)
    assert answer.status_code == status, answer.text[:300]
    assert answer.json()["error"]["message"]
    assert "Traceback" not in answer.text
    assert str(team.service.runs.path) not in answer.text


def test_an_error_inside_says_nothing_of_it(team: Team) -> None:
    team.add_finished("done")
    (team.service.runs.search("done").journal).write_text('{"broken": ')
    answer = team.ann.get(f"{API}/searches/done/trials")
    assert answer.status_code in (500, 503)
    assert "Traceback" not in answer.text
    team.service.close()
    team.service.engine.pool.dispose()


def test_the_document_describes_every_route(team: Team) -> None:
    document = team.anyone.get("/openapi.json").json()
    page = team.anyone.get("/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) >= 2
    assert all(team.anyone.get(url).status_code == 200 for url in loaded)  # nothing from elsewhere
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), (method, path)

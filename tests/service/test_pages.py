"""The service's pages, as a client without JavaScript sees them; in a browser: test_browser."""

from __future__ import annotations

import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpsearch.outcome import Outcome
from hpsearch.service.cache.readonly_storage import ReadOnlyError, SearchStorage, study_id
from hpsearch.service.database.audit import read_audit
from tests.support.browser import Visitor
from tests.support.specs import make_spec
from tests.support.team import Team

HOSTILE = "<script>alert('x')</script>&\"'"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its texts."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def forms(self) -> set[str]:
        """Return where the page's forms for searches go."""
        actions = {attrs.get("action") or "" for tag, attrs in self.tags if tag == "form"}
        return {action.rpartition("/")[2] for action in actions if "/searches/" in action}


def test_a_token_signs_in_until_it_is_revoked_or_the_user_leaves(
    team: Team, visit: Visitor
) -> None:
    client = visit(None)
    wanted = client.get("/searches/a?x=1", follow_redirects=False)
    assert (wanted.status_code, wanted.headers["location"]) == (
        303,
        "/sign-in?next=%2Fsearches%2Fa%3Fx%3D1",
    )
    wrong = client.post("/sign-in", data={"token": "hps_wrong"})
    assert (wrong.status_code, "unknown or revoked" in wrong.text) == (401, True)
    assert not client.cookies
    token = team.service.tokens.create("ann", "user")
    data = {"token": token, "next": "/?page=1"}
    signed_in = client.post("/sign-in", data=data, follow_redirects=False)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/?page=1")
    cookie = signed_in.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))
    assert client.get("/").status_code == 200
    assert client.post("/sign-out").url.path == "/sign-in"
    assert client.get("/").url.path == "/sign-in"
    client.post("/sign-in", data=data)
    team.service.tokens.revoke(token.split("_")[1])
    assert client.get("/").url.path == "/sign-in"
    assert not client.cookies


def test_the_cookie_is_secure_over_https(team: Team, visit: Visitor) -> None:
    client = visit(None, base_url="https://testserver")
    data = {"token": team.service.tokens.create("ann", "user")}
    cookie = client.post("/sign-in", data=data, follow_redirects=False).headers["set-cookie"]
    assert cookie.startswith("__Host-hpsearch=")
    assert "Secure" in cookie
    assert client.get("/").url.path == "/"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/\\\\evil.example",
        "javascript:x",
        "\t/",
    ],
)
def test_signing_in_leads_to_pages_of_the_service_only(
    team: Team, visit: Visitor, target: str
) -> None:
    data = {"token": team.service.tokens.create("ann", "user"), "next": target}
    answer = visit(None).post("/sign-in", data=data, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_guesses_are_counted_and_noted(team: Team, visit: Visitor) -> None:
    client = visit(None)
    statuses = [client.post("/sign-in", data={"token": "hps_x"}).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert sum(entry["action"] == "login" for entry in read_audit(team.service.engine)) == 10


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # the same host, another port
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://testserver:81"},
        {"Origin": "null"},
        {},
    ],
)
def test_forms_of_other_origins_are_refused(
    team: Team, visit: Visitor, headers: dict[str, str]
) -> None:
    team.add("a")
    client = visit()
    del client.headers["Sec-Fetch-Site"]
    answer = client.post("/searches/a/stop", headers=headers)
    assert (answer.status_code, "own pages" in answer.text) == (403, True)
    assert team.service.table.get("a").desired == "queued"
    own = client.post("/searches/a/stop", headers={"Origin": "http://testserver"})
    assert own.status_code == 200
    assert team.service.table.get("a").desired == "stopped"


def test_a_link_from_elsewhere_needs_no_new_sign_in(visit: Visitor) -> None:
    """Browsers keep a strict cookie from the request that follows another site's link."""
    client = visit(None)
    answer = client.get("/searches/a", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.url.path) == (401, "/searches/a")
    assert ("meta", {"http-equiv": "refresh", "content": "0"}) in Page(answer).tags


@pytest.mark.parametrize(
    ("role", "name", "forms"),
    [
        ("user", "ann", {"extend", "repeat", "delete"}),
        ("admin", "root", {"extend", "repeat", "delete"}),
        ("user", "bob", set()),
        ("viewer", "ann", set()),
    ],
)
def test_only_those_who_may_change_a_search_get_its_forms(
    team: Team, visit: Visitor, role: str, name: str, forms: set[str]
) -> None:
    team.add_finished("done")
    client = visit(role, name)
    assert Page(client.get("/searches/done")).forms() == forms
    answer = client.post("/searches/done/extend", data={"trials": "1"})
    assert answer.status_code == (200 if forms else 403)
    assert team.service.table.get("done").actual == ("queued" if forms else "finished")


def test_searches_are_stopped_resumed_extended_and_deleted_by_forms(
    team: Team, visit: Visitor
) -> None:
    row = team.add("runs", desired="running", actual="running")
    team.add_finished("done")
    client = visit()
    assert Page(client.get("/searches/runs")).forms() == {"stop", "extend"}
    assert "stop requested" in client.post("/searches/runs/stop").text
    stopped = team.service.table.get("runs")
    assert (row.desired, stopped.desired) == ("running", "stopped")
    team.service.table.change(stopped, actual="stopped")
    assert "resume" in Page(client.get("/searches/runs")).forms()
    assert client.post("/searches/runs/resume").status_code == 200
    assert team.service.table.get("runs").actual == "queued"
    data = {"trials": "2", "epochs": "", "time": "", "disk": ""}
    assert client.post("/searches/done/extend", data=data).url.path == "/searches/done"
    assert team.service.table.get("done").summary["trials"] == 6
    unsure = client.post("/searches/done/delete", data={"confirm": "don"})
    assert (unsure.status_code, team.service.table.has("done")) == (422, True)
    gone = client.post("/searches/done/delete", data={"confirm": "done"})
    assert (gone.url.path, team.service.table.has("done")) == ("/", False)


def test_mistakes_in_a_form_are_all_told(team: Team, visit: Visitor) -> None:
    team.add("a")
    data = {"trials": "3", "time": "soon", "disk": "much"}
    answer = visit().post("/searches/a/extend", data=data)
    assert answer.status_code == 422
    text = Page(answer).text
    assert "time: must be seconds or a text such as 45s" in text
    assert "disk: must be bytes or a text such as 500MB" in text
    number = visit().post("/searches/a/extend", data={"trials": "many"})
    assert (number.status_code, "trials: " in number.text) == (422, True)
    again = visit().post("/searches/a/resume")
    assert (again.status_code, "it is queued" in again.text) == (409, True)


def test_a_search_can_be_read_without_javascript(team: Team, visit: Visitor) -> None:
    record = team.add_finished("done", trials=12)
    text = Page(visit("viewer").get("/searches/done")).text
    best = record.best
    assert best is not None
    for expected in (
        "best val_accuracy 1.63 trial 11",
        "12 trials of 12 planned",
        "Leaderboard",
        "hyperparameter share 90 % interval expected best",
        "12 completed",
        "one line another",
        "name: done",
    ):
        assert expected in text, expected


def test_a_search_without_a_record_is_shown(team: Team, visit: Visitor) -> None:
    team.add("waits", reason="the service runs 3 of at most 3 searches")
    text = Page(visit().get("/searches/waits")).text
    assert "the service runs 3 of at most 3 searches" in text
    assert "No record yet" in text
    assert visit().get("/searches/waits/figures").status_code == 409


def test_what_people_and_their_code_wrote_is_escaped(team: Team, visit: Visitor) -> None:
    record = team.add_finished("done")
    folder = team.service.runs.search("done")
    again = folder.take_over()
    number = again.add_trial(again.trials[0].params).number
    again.start_attempt(number)
    again.end_trial(number, Outcome.FAILED, HOSTILE, f"Traceback {HOSTILE}")
    again.end("failed", HOSTILE)
    (folder.path / "driver.log").write_text(HOSTILE)
    row = team.service.table.get(record.name)
    team.service.table.change(row, actual="failed", reason=HOSTILE)
    client = visit()
    for path in ("/searches/done", f"/?text={HOSTILE}", f"/sign-in?next={HOSTILE}", f"/{HOSTILE}"):
        answer = client.get(path)
        assert "<script>" not in answer.text, path
    assert Page(client.get("/searches/done")).text.count("alert('x')") >= 5
    drawn = client.get("/searches/done/figures")
    assert drawn.headers["content-type"] == "application/json"


def test_pages_run_no_script_but_their_own_files(team: Team, visit: Visitor) -> None:
    team.add_finished("done")
    client = visit()
    for path in ("/", "/searches/done", "/nothing", "/sign-in"):
        answer = client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        page = Page(answer)
        for tag, attrs in page.tags:
            assert not [name for name in attrs if name.startswith("on")]
            source = attrs.get("src") if tag == "script" else attrs.get("href", "/")
            assert source is not None, "an inline script"
            assert source.startswith(("/", "?", "#", "data:")), source
            if source.startswith("/assets/"):
                file = client.get(source)
                assert file.status_code == 200
                assert "immutable" in file.headers["cache-control"]


def test_the_list_has_filters_and_pages(team: Team, visit: Visitor) -> None:
    for number in range(60):
        team.add(f"s{number:02}", "bob" if number % 2 else "ann")
    client = visit()
    first, second = Page(client.get("/")).text, Page(client.get("/?page=2")).text
    assert "60 searches" in first
    assert "s59" in first and "s59" not in second
    assert "s00" in second and "s00" not in first
    filtered = client.get("/", params={"owner": "bob", "text": "s5", "state": "queued"})
    shown = set(re.findall(r"/searches/(s\d\d)\"", filtered.text))
    assert shown == {"s51", "s53", "s55", "s57", "s59"}
    assert "No matching searches." in client.get("/?state=failed").text
    assert client.get("/?state=odd").status_code == 422


def test_a_search_is_drawn_again_only_after_a_while(
    team: Team, visit: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpsearch.service.pages.contents.PAUSE_S", 1e6)
    record = team.service.runs.create(make_spec(name="large")).take_over()
    team.add("large", desired="running", actual="running")
    params = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
    for number in range(2):
        record.add_trial({"model.dropout": 0.1, **params})
        record.report(number, 1, {"val_accuracy": 0.5})
    client = visit()

    def found() -> tuple[str, float]:
        page = Page(client.get("/searches/large"))
        [attrs] = [attrs for _, attrs in page.tags if attrs.get("id") == "found"]
        return " ".join(page.texts), float(attrs["data-again"] or "")

    text, again = found()
    assert "2 trials of 4 planned" in text
    assert again == 0
    record.add_trial({"model.dropout": 0.1, **params})
    text, again = found()
    assert "2 trials of 4 planned" in text
    assert 0 < again <= 1e6
    record.end("stopped")
    text, again = found()
    assert "3 trials of 4 planned" in text
    assert again == 0


def test_figures_are_sent_again_only_when_they_changed(team: Team, visit: Visitor) -> None:
    team.add_finished("done", trials=12)
    client = visit()
    drawn = client.get("/searches/done/figures")
    assert {"objective", "curves", "importances", "parallel"} <= set(drawn.json()["figures"])
    headers = {"If-None-Match": drawn.headers["etag"]}
    assert client.get("/searches/done/figures", headers=headers).status_code == 304
    plain = client.get("/searches/done/figures", headers={"Accept-Encoding": "identity"})
    assert plain.json() == drawn.json()


def test_errors_are_pages_that_tell_nothing_of_the_inside(team: Team, visit: Visitor) -> None:
    client = visit()
    missing = client.get("/searches/none")
    assert (missing.status_code, "no search &#39;none&#39;" in missing.text) == (404, True)
    assert client.get("/nowhere").headers["content-type"].startswith("text/html")
    assert client.get("/api/v1/nowhere").json()["error"]["message"]
    team.add_finished("done")
    team.service.runs.search("done").journal.write_text('{"broken": ')
    broken = client.get("/searches/done")
    assert broken.status_code in (200, 500)
    for answer in (missing, broken):
        assert "Traceback" not in answer.text
        assert str(team.service.runs.path) not in answer.text


def test_the_run_in_mlflow_is_looked_for_when_it_is_wanted(team: Team, visit: Visitor) -> None:
    team.add_finished("done")
    client = visit()
    assert "/mlflow" not in client.get("/searches/done").text
    assert client.get("/searches/done/mlflow").status_code == 404


@pytest.fixture
def viewer(team: Team, visit: Visitor) -> TestClient:
    team.add_finished("done", trials=12)
    return visit("viewer")


def test_the_dashboard_is_on_a_searchs_page(viewer: TestClient) -> None:
    assert "/searches/done/dashboard" in viewer.get("/searches/done").text
    answer = viewer.get("/searches/done/dashboard", follow_redirects=False)
    assert answer.headers["location"] == f"/dashboard/studies/{study_id('done')}"
    page = viewer.get(answer.headers["location"])
    assert page.status_code == 200
    assert "connect-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"


def test_no_name_has_the_number_of_another() -> None:
    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
    assert study_id("plumless") != study_id("buckeroo")
    assert study_id("plumless") < 2**53  # JavaScript's numbers are whole up to there


def test_the_dashboard_tells_of_the_same_study(team: Team, viewer: TestClient) -> None:
    record, _ = team.service.records.read("done")
    studies = viewer.get("/api/studies").json()["study_summaries"]
    assert [study["study_name"] for study in studies] == ["done"]
    study = viewer.get(f"/api/studies/{studies[0]['study_id']}").json()
    assert len(study["trials"]) == len(record.trials) == 12
    assert record.best is not None
    assert study["best_trials"][0]["number"] == record.best.number
    assert study["trials"][0]["user_attrs"] == []
    importances = viewer.get(f"/api/studies/{study_id('done')}/param_importances")
    assert importances.status_code == 200
    assert "params" not in viewer.get(f"/csv/{study_id('done')}").text.splitlines()[1]


@pytest.mark.parametrize(
    "path",
    [
        "/dashboard",
        "/api/meta",
        "/api/studies",
        f"/api/studies/{study_id('done')}",
        f"/csv/{study_id('done')}",
        "/static/bundle.js",
    ],
)
def test_nobody_sees_the_dashboard_without_a_sign_in(
    viewer: TestClient,
    visit: Visitor,
    path: str,
) -> None:
    answer = visit(None).get(path, follow_redirects=False)
    assert answer.status_code in (303, 401)
    assert viewer.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/studies"),
        ("DELETE", f"/api/studies/{study_id('done')}"),
        ("POST", f"/api/studies/{study_id('done')}/rename"),
        ("PUT", f"/api/studies/{study_id('done')}/note"),
        ("POST", "/api/trials/0/tell"),
        ("POST", "/api/trials/0/user-attrs"),
    ],
)
def test_nothing_can_be_written_through_the_dashboard(
    team: Team,
    viewer: TestClient,
    method: str,
    path: str,
) -> None:
    journal = Path(team.service.runs.search("done").journal)
    before = journal.read_bytes()
    answer = viewer.request(method, path, json={"study_name": "x", "directions": ["minimize"]})
    assert answer.status_code in (404, 405)
    assert journal.read_bytes() == before


def test_the_dashboards_storage_refuses_every_write(team: Team, viewer: TestClient) -> None:
    storage: Any = SearchStorage(team.service.records, "done")
    number = storage.get_study_id_from_name("done")
    for write, arguments in [
        ("set_study_user_attr", (number, "note", "x")),
        ("set_study_system_attr", (number, "note", "x")),
        ("delete_study", (number,)),
        ("create_new_trial", (number,)),
        ("set_trial_user_attr", (0, "a", 1)),
        ("set_trial_state_values", (0, None)),
    ]:
        with pytest.raises(ReadOnlyError):
            getattr(storage, write)(*arguments)


def test_the_dashboard_of_an_unknown_search_is_not_found(viewer: TestClient) -> None:
    assert viewer.get("/api/studies/12345").status_code == 404
    assert viewer.get("/searches/nothing/dashboard").status_code == 404

"""The best configuration again, and the next search, of a service without a cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpsearch.analysis.narrowing import described, read_change
from hpsearch.next_spec import plain_next
from hpsearch.record import FinalNote
from hpsearch.searches import wants_repeats
from hpsearch.service.launch import has_more_to_do, read_spec
from hpsearch.spec import draft_spec, load_yaml
from tests.support.browser import Visitor
from tests.support.team import API, Team


def test_a_repeat_is_queued_and_wanted_until_it_is_done(team: Team) -> None:
    record = team.add_finished("done")
    answer = team.ann.post(f"{API}/searches/done/repeat", json={"seeds": 3})
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    row = team.service.table.get("done")
    spec = read_spec(row.spec, team.service.uploads.folder(None))
    assert spec.num_repeats == 3 and wants_repeats(record, 3) and has_more_to_do(spec, record)
    assert record.best is not None
    # what the driver notes, then what it finds
    record.go_on(record.spec.with_repeats(3))
    final = FinalNote.read(
        {
            "finalists": [{"trial": 2, "values": [0.5] * 3, "failed": 0, "test": None}],
            "seeds": 3,
            "reason": None,
            "is_ranked": False,
        }
    )
    assert final is not None
    record.set_final(final)
    record.end("finished")
    assert wants_repeats(record, 3)  # nothing is ranked yet
    record.set_final(replace(final, is_ranked=True))
    assert not wants_repeats(record, 3)
    assert not has_more_to_do(record.spec, record)
    team.service.table.change(row, actual="finished")
    again = team.ann.post(f"{API}/searches/done/repeat", json={"seeds": 3})
    told = "done: its best was trained with 3 new seeds already; ask for more"
    assert (again.status_code, again.json()["error"]["message"]) == (409, told)
    assert team.ann.post(f"{API}/searches/done/repeat", json={"seeds": 8}).status_code == 202


def test_what_can_not_be_repeated_is_told_first(team: Team) -> None:
    team.add("waits")
    early = team.ann.post(f"{API}/searches/waits/repeat", json={})
    told = "waits must be finished for its best to be trained again, but it is queued"
    assert (early.status_code, early.json()["error"]["message"]) == (409, told)
    team.add_finished("cut").end("stopped")
    none = team.ann.post(f"{API}/searches/cut/repeat", json={})
    assert none.status_code == 422 and "has a best trial" in none.text
    team.add_finished("done")
    assert team.bob.post(f"{API}/searches/done/repeat", json={}).status_code == 403
    assert team.ann.post(f"{API}/searches/done/repeat", json={"seeds": 0}).status_code == 422


def test_a_page_has_a_form_for_it(team: Team, visit: Visitor) -> None:
    team.add_finished("done")
    client = visit()
    assert 'action="/searches/done/repeat"' in client.get("/searches/done").text
    assert client.post("/searches/done/repeat", data={"seeds": "two"}).status_code == 422
    assert client.post("/searches/done/repeat", data={"seeds": "2"}).status_code == 200
    spec = read_spec(team.service.table.get("done").spec, team.service.uploads.folder(None))
    assert spec.num_repeats == 2


def test_the_next_spec_is_that_of_the_record(team: Team) -> None:
    record = team.add_finished("done", trials=24)
    answer = team.viewer.get(f"{API}/searches/done/next", params={"new_name": "more"}).json()
    expected = plain_next(record, "more")
    assert answer["spec"] == expected["spec"]
    assert answer["spec"]["name"] == "more" and "done" in answer["spec"]["search"]["warm_start"]
    changes = [read_change(each) for each in answer["changes"]]
    assert changes and [read_change(each) for each in expected["changes"]] == changes
    assert described(changes[0]).startswith("model.dropout: 0 to ")
    assert draft_spec(answer["spec"]).spec is not None
    team.add("waits")
    assert team.ann.get(f"{API}/searches/waits/next").status_code == 409


def test_the_page_has_it_as_a_file(team: Team, visit: Visitor) -> None:
    record = team.add_finished("done", trials=24)
    client = visit()
    page = client.get("/searches/done").text
    assert "Where to look next" in page and 'href="/searches/done/next.yaml"' in page
    answer = client.get("/searches/done/next.yaml")
    assert answer.headers["content-disposition"] == 'attachment; filename="done-next.yaml"'
    assert answer.text.startswith("# model.dropout: 0 to ")
    assert load_yaml(answer.text) == plain_next(record)["spec"]
    team.add("waits")
    assert client.get("/searches/waits/next.yaml").status_code == 409


def test_passwords_of_stores_and_users_code_stay_where_they_are(team: Team) -> None:
    """The service imports no code of users, and tells nobody the URLs of its stores."""
    model = {"name": "nowhere.py:make", "dropout": {"low": 0.0, "high": 0.5}}
    record = team.add_finished("own", trials=24, model=model)
    secret = {"storage": "postgresql://me:secret@db/records"}
    record.spec = record.spec.model_copy(update=secret)
    plain = plain_next(record, imports=False)
    assert "secret" not in str(plain)
    assert plain["spec"]["model"]["name"] == "nowhere.py:make" and plain["changes"]


@pytest.mark.parametrize("seeds", [1, 7])
def test_the_job_is_told_how_many(team: Team, seeds: int) -> None:
    from hpsearch.service.jobs import Program

    program = Program(team.service.settings.runs, "python")
    spec = team.add_finished("done").spec
    command = program.resume("done", spec.budget, spec.with_repeats(seeds).num_repeats)
    assert f"--repeats {seeds}" in command
    assert "--repeats" not in program.resume("done", spec.budget, spec.num_repeats)

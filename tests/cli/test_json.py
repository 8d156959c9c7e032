"""`--json`: every command has it, and prints what the page of commands says."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from docs.site.command_line import commands
from hpsearch.cli import app, main
from hpsearch.cli.following import follow
from hpsearch.outcome import Outcome
from hpsearch.result import open_search
from hpsearch.runs import Runs
from hpsearch.service.core import Service
from hpsearch.service.settings import Settings
from hpsearch.training.checkpoints import CheckpointStore
from tests.support.cli import FIVE_MISTAKES, SPEC
from tests.support.examples import ROOT
from tests.support.serving import served
from tests.support.specs import make_spec
from tests.support.team import Team
from tests.support.whole import BEST, Search

#: they run until they are ended
ENDLESS = {"serve", "ui", "mcp"}
#: searches that run: see `test_a_search_that_ends`, and the tests of a team and of studies
RUNNING = {"run", "submit", "resume", "extend", "repeat", "stop", "study"}
#: acts on a search that runs
ACTS = {
    "trial stop": ["acted", "0"],
    "trial extend": ["acted", "1", "--to", "40"],
    "trial clone": ["acted", "0", "--set", "model.dropout=0.1"],
    "narrow": ["acted", "model.dropout", "--high", "0.2"],
    "pause": ["acted"],
    "acts": ["acted"],
}
OF_SEARCHES: dict[str, list[str]] = {
    "status": ["small"],
    "list": [],
    "logs": ["small", "--trial", "0"],
    "report": ["small"],
    "explain": ["small"],
    "best": ["small"],
    "download": ["small"],
    "sync": ["small"],
    "check": ["small"],
    "next": ["small"],
    "learning-curve": ["small", "--seeds", "2"],
    "compare": ["small", "small"],
    "gc": ["--dry-run"],
    "export": ["small", "--to", "tables"],
    "simulate": ["--from", "small", "--workers", "1", "--seeds", "1"],
    "delete": ["small", "--yes"],
}
OF_SPECS: dict[str, list[str]] = {
    "validate": ["s.yaml"],
    "data": ["s.yaml"],
    "diagnose": ["s.yaml"],
    "lr-range": ["s.yaml"],
    "init": ["--output", "new.yaml", "--", sys.executable, "script.py"],
    "components": ["optimizer"],
    "schema": [],
}
OF_SERVICES: dict[str, list[str]] = {
    "login": [],
    "quota": [],
    "token create": ["bob"],
    "token list": [],
    "token revoke": [],
    "logout": [],
}
SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.parse_args()
"""


def documented() -> dict[str, set[str]]:
    """Return the keys that the page names, by command."""
    text = (ROOT / "docs" / "commands.md").read_text()
    section = text.partition("## JSON")[2].partition("## Exit")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    ticked = [[re.findall(r"`([\w -]+)`", cell) for cell in row] for row in rows]
    return {name: set(keys) for names, keys in ticked for name in names}


def printed(*words: str) -> Any:
    """Return what a command prints, as a document."""
    done = invoke(*words)
    assert isinstance(done.exception, SystemExit | None), done.exception
    return json.loads(done.stdout)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def with_json(name: str, arguments: list[str]) -> list[str]:
    return [*name.split(), "--json", *arguments]


def keys(document: Any) -> set[str]:
    one = document[0] if isinstance(document, list) else document
    assert isinstance(one, dict)
    return set(one)


def test_every_command_has_it() -> None:
    without = {
        name
        for name, command in commands()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    assert without == ENDLESS


def test_every_command_is_documented_and_tested() -> None:
    names = {name for name, _ in commands()} - ENDLESS
    assert set(documented()) == names
    assert {*RUNNING, *ACTS, *OF_SEARCHES, *OF_SPECS, *OF_SERVICES} == names


def test_logs_of_a_search_that_wrote_none_are_what_is_known_of_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Runs(tmp_path).create(make_spec(name="own"))
    record = folder.take_over()
    for _ in range(2):
        sgd = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
        record.add_trial({"model.dropout": 0.0, **sgd})
    command = ["logs", "--json", "own", "--runs", str(tmp_path)]
    lines = [json.loads(line)["text"] for line in invoke(*command).stdout.splitlines()]
    assert lines == ["trial 0: running, 0 epochs\n", "trial 1: running, 0 epochs\n"]

    def end(_: float) -> None:
        record.end_trial(0, Outcome.FAILED, "a bug")
        driver.close()

    monkeypatch.setattr("hpsearch.cli.local.time.sleep", end)
    with contextlib.ExitStack() as driver:
        driver.enter_context(folder.hold())
        assert invoke(*command, "-f").stdout.splitlines() == [
            '{"text": "trial 0: failed, 0 epochs\\na bug\\n"}',
            '{"text": "trial 1: running, 0 epochs\\n"}',
        ]


def test_acts_on_a_search_wait_where_no_driver_works_on_it(tmp_path: Path) -> None:
    record = Runs(tmp_path).create(make_spec(name="acted")).take_over()
    for _ in range(2):
        sgd = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
        record.add_trial({"model.dropout": 0.0, **sgd})
    for name, arguments in ACTS.items():
        found = printed(*with_json(name, [*arguments, "--runs", str(tmp_path)]))
        assert documented()[name] <= keys(found)
        acts = found if name == "acts" else [found]
        assert {each["state"] for each in acts} == {"waiting"}
    assert [each["action"] for each in acts] == [
        *("stop_trial", "extend_trial", "clone_trial", "narrow", "pause")
    ]
    done = invoke("trial", "clone", "acted", "0", "--set", "x", "--runs", str(tmp_path))
    assert "--set: must be name=value, but got 'x'" in str(done.exception)


@pytest.mark.parametrize("name", OF_SEARCHES)
def test_commands_of_searches(
    name: str, search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = CheckpointStore(search.folder.checkpoints, BEST)
    store.save(3, {"epoch": 3, "trainer": {}})
    found = printed(*with_json(name, OF_SEARCHES[name]))
    if name == "explain":  # by trial
        assert all(number.isdecimal() for number in found)
    else:
        assert keys(found) == documented()[name]


@pytest.mark.parametrize("name", OF_SPECS)
def test_commands_of_specs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SPEC)
    Path("script.py").write_text(SCRIPT)
    found = printed(*with_json(name, OF_SPECS[name]))
    if name == "schema":
        assert found["type"] == "object"
    elif name == "components":
        assert keys(found["optimizer"]) == documented()[name]
    elif name == "diagnose":
        assert {"findings", *found["findings"][0]} == documented()[name]
    else:
        assert keys(found) == documented()[name]


class TestService:
    @pytest.fixture
    def team(self, tmp_path: Path) -> Iterator[Team]:
        """A service without a cluster."""
        database = f"sqlite:///{tmp_path / 'service.db'}"
        (tmp_path / "runs").mkdir()
        service = Service(Settings(tmp_path / "runs", database, "http://127.0.0.1:1"))
        yield Team(service)
        service.close()

    @pytest.fixture
    def login(self, team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        """What an admin logs in with."""
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        with served(team.app) as url:
            yield [url, "--token", team.service.tokens.create("root", "admin")]

    def test_commands_of_services(self, login: list[str]) -> None:
        found = {"login": printed(*with_json("login", login))}
        for name in ("quota", "token create", "token list"):
            found[name] = printed(*with_json(name, OF_SERVICES[name]))
        identity = found["token list"][-1]["id"]
        found["token revoke"] = printed("token", "revoke", "--json", identity)
        found["logout"] = printed("logout", "--json")
        assert {name: keys(each) for name, each in found.items()} == {
            name: documented()[name] for name in OF_SERVICES
        }

    def test_commands_of_a_service_s_searches(self, login: list[str], team: Team) -> None:
        invoke("login", *login)
        team.add_finished("done")
        team.add("waits", actual="queued", desired="running")
        for words in (["status", "done"], ["extend", "done", "--trials", "1"], ["stop", "waits"]):
            assert keys(printed(*words, "--json")) == documented()[words[0]]


def test_a_search_that_ends(search: Search, capsys: pytest.CaptureFixture[str]) -> None:
    """What `run`, `resume` and `extend` print when the search has ended here."""
    follow(lambda watch: open_search("small", search.place.path), search.place.path, True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == documented()["run"]
    assert (found["state"], found["summary"]["best_trial"]) == ("finished", 1)


@pytest.mark.parametrize("words", [["--json"], []])
def test_an_error_is_json_too(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "five.yaml").write_text(FIVE_MISTAKES)
    monkeypatch.setattr(sys, "argv", ["hpsearch", "validate", str(tmp_path / "five.yaml"), *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    if not words:
        assert err.startswith("error: ")
        return
    error = json.loads(err)["error"]
    assert error["type"] == "SpecError"
    places = {problem["place"]: problem for problem in error["problems"]}
    assert places["optimizer.momentun"]["nearest"] == ["momentum"]
    assert places["serach"]["rule"] == "must be a known key"
    assert len(places) >= 5


def test_nobody_is_asked(search: Search) -> None:
    done = invoke("delete", "small", "--json", "--runs", str(search.place.path))
    assert "delete --json: give --yes" in str(done.exception)
    assert search.place.has("small")

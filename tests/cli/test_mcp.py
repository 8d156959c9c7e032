"""`hpsearch mcp`, driven by the SDK's own client over standard input and output."""

from __future__ import annotations

import getpass
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
import yaml
from mcp import Client, StdioServerParameters
from optuna.distributions import FloatDistribution

from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.service.core import Service
from hpsearch.service.settings import Settings
from hpsearch.spec.reading import read_text
from hpsearch.tuning.user_acts import UserActs
from tests.support.cli import FIVE_MISTAKES, SPEC
from tests.support.polling import wait_until
from tests.support.serving import served
from tests.support.shell import Shell
from tests.support.specs import make_spec
from tests.support.team import Team
from tests.support.whole import Search

READING = {
    "validate", "status", "diagnose", "compare", "best", "next_spec", "list_searches",
}  # fmt: skip
CHANGING = {
    "submit", "stop_trial", "extend_trial", "clone_trial", "narrow", "pause", "resume",
}  # fmt: skip


#: tools that act on a running search, with what they need beside its name
ACTS: dict[str, dict[str, Any]] = {
    "stop_trial": {"trial": 0},
    "extend_trial": {"trial": 0, "to_epoch": 9},
    "clone_trial": {"trial": 1, "values": {"optimizer.lr": 0.02}},
    "narrow": {"parameter": "optimizer.sgd.lr", "high": 0.2},
    "pause": {},
}


class Agent:
    """Calls tools and returns what they say."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, tool: str, **arguments: Any) -> dict[str, Any]:
        done = await self.client.call_tool(tool, arguments)
        assert not done.is_error, done.content
        return done.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        done = await self.client.call_tool(tool, arguments)
        assert done.is_error
        return "".join(each.text for each in done.content)


@asynccontextmanager
async def agent(
    folder: Path, *options: str, env: dict[str, str] | None = None
) -> AsyncIterator[Agent]:
    words = ["-m", "hpsearch.cli", "mcp", *options]
    server = StdioServerParameters(command=sys.executable, args=words, cwd=folder, env=env)
    async with Client(server) as client:
        yield Agent(client)


def test_an_agent_over_a_runs_folder(search: Search, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    (tmp_path / "five.yaml").write_text(FIVE_MISTAKES)
    Runs(tmp_path / "runs").search("small").take_over().set_delivered()

    async def talk() -> None:
        async with agent(tmp_path, "--runs", "runs") as hpsearch:
            tools = {tool.name: tool for tool in (await hpsearch.client.list_tools()).tools}
            assert set(tools) == READING | CHANGING
            changing = {n for n, tool in tools.items() if tool.annotations is None}
            assert changing == CHANGING

            valid = await hpsearch.ask("validate", spec="tiny.yaml")
            assert [each["name"] for each in valid["hyperparameters"]] == [
                "model.dropout", "optimizer.lr",
            ]  # fmt: skip
            said = await hpsearch.refused("validate", spec="five.yaml")
            assert (
                "optimizer.momentun: must be a keyword of optimizer sgd" in said
                and "'momentum'" in said
            )

            [found] = (await hpsearch.ask("list_searches"))["searches"]
            assert found == await hpsearch.ask("status", name="small")
            assert (found["state"], found["summary"]["best_trial"]) == ("finished", 1)
            soon = await hpsearch.ask("status", name="small", targets=[0.8, 2.0])
            assert [each["trial"] for each in soon["targets"]] == [1, None]
            best = await hpsearch.ask("best", name="small")
            assert best["objective"] == {"val_accuracy": 0.8}
            [compared] = (await hpsearch.ask("compare", names=["small"]))["searches"]
            assert compared["best"]["params"] == best["params"]
            assert set(await hpsearch.ask("diagnose", name="small", trial=1)) <= {"1"}
            assert "small has no trial 99" in await hpsearch.refused(
                "diagnose", name="small", trial=99
            )
            assert "no search 'smal'" in await hpsearch.refused("status", name="smal")

            for tool, arguments in ACTS.items():
                said = await hpsearch.refused(tool, name="small", **arguments)
                assert "small has finished" in said
            assert "small has finished" in await hpsearch.refused("resume", name="small")

            following = await hpsearch.ask("next_spec", name="small", new_name="more", trials=7)
            spec = read_text(following["spec"], "more.yaml", tmp_path).spec
            assert (spec.name, spec.search.trials) == ("more", 7)
            assert spec.search.warm_start == ("small",)

    anyio.run(talk)


@pytest.mark.long
def test_an_agent_submits_a_search(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "print('not for the agent')\ndef train(config, trial):\n    yield {'score': config['x']}\n"
    )
    spec = {
        "name": "noisy",
        "objective": {"metric": "score"},
        "trainable": "noisy.py:train",
        "space": {"x": {"low": 0.0, "high": 1.0}},
        "search": {"trials": 2, "max_concurrent": 1, "early_stopping": {"max_epochs": 1}},
    }
    (tmp_path / "noisy.yaml").write_text(yaml.safe_dump(spec))

    def has_ended() -> bool:
        return Runs(tmp_path / "runs").search("noisy").open_record().state != "running"

    async def submit() -> None:
        async with agent(tmp_path, "--runs", "runs") as hpsearch:
            started = await hpsearch.ask("submit", spec="noisy.yaml")
            assert started["name"] == "noisy"
            await anyio.to_thread.run_sync(wait_until, has_ended, 240.0, 0.5)
            assert (await hpsearch.ask("status", name="noisy"))["state"] == "finished"
            assert 0 <= (await hpsearch.ask("best", name="noisy"))["params"]["x"] <= 1

    anyio.run(submit)


def test_acts_of_an_agent_are_its_user_s(tmp_path: Path) -> None:
    """The driver is a thread of the test."""
    folder = Runs(tmp_path / "runs").create(
        make_spec(name="mine", search={"early_stopping": {"max_epochs": 27}})
    )
    ended = threading.Event()
    with folder.drive():
        record = folder.take_over()
        lr = {"optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}
        for number in range(2):
            record.add_trial({"model.dropout": 0.1, **lr})
            record.start_attempt(number)
            record.report(number, 1, {"val_accuracy": 0.5})
        record.set_checkpoint(0, "trial-0000/epoch-0001.pt")
        acts = UserActs(record, folder.checkpoints, folder)

        def drive() -> None:
            while not ended.wait(0.05):
                list(acts.take())

        async def talk() -> None:
            async with agent(tmp_path, "--runs", "runs") as hpsearch:
                done = {}
                for tool in ("extend_trial", "clone_trial", "narrow", "stop_trial"):
                    done[tool] = await hpsearch.ask(tool, name="mine", **ACTS[tool])
                assert {each["state"] for each in done.values()} == {"done"}
                assert done["clone_trial"]["made"] == 2
                assert "no trial 9" in await hpsearch.refused("stop_trial", name="mine", trial=9)
                assert "is running" in await hpsearch.refused("resume", name="mine")
                assert (await hpsearch.ask("pause", name="mine"))["told"] == "pause"
                assert record.paused_by is not None
                await hpsearch.ask("resume", name="mine")
                assert record.paused_by is None

        driver = threading.Thread(target=drive)
        driver.start()
        try:
            anyio.run(talk)
        finally:
            ended.set()
            driver.join()
    assert record.trials[0].outcome is Outcome.STOPPED_BY_USER
    assert record.trials[2].params["optimizer.sgd.lr"] == 0.02
    range_of_lr = record.space.distributions["optimizer.sgd.lr"]
    assert isinstance(range_of_lr, FloatDistribution)
    assert range_of_lr.high == 0.2
    assert {act.user for act in record.acts} == {getpass.getuser()}


class TestService:
    @pytest.fixture
    def team(self, tmp_path: Path) -> Iterator[Team]:
        database = f"sqlite:///{tmp_path / 'service.db'}"
        (tmp_path / "runs").mkdir()
        service = Service(Settings(tmp_path / "runs", database, "http://127.0.0.1:1"))
        yield Team(service)
        service.close()

    def test_an_agent_has_its_user_s_rights(self, team: Team, tmp_path: Path) -> None:
        team.add_finished("done")
        shell = Shell(tmp_path / "home")
        (tmp_path / "tiny.yaml").write_text(SPEC)
        viewer = team.service.tokens.create("eve", "viewer")

        async def talk() -> None:
            async with agent(tmp_path, env=shell.environment) as hpsearch:
                assert (await hpsearch.ask("status", name="done"))["owner"] == "ann"
                assert (await hpsearch.ask("best", name="done"))["trial"] == 2
                assert isinstance(await hpsearch.ask("diagnose", name="done"), dict)
                said = await hpsearch.refused("submit", spec=str(tmp_path / "tiny.yaml"))
                assert "viewer" in said
                for tool, arguments in [*ACTS.items(), ("resume", {})]:
                    assert "viewer" in await hpsearch.refused(tool, name="done", **arguments)

        with served(team.app) as url:
            shell.run("login", url, "--token", viewer)
            anyio.run(talk)

    def test_an_agent_sends_the_code_that_a_spec_names(self, team: Team, tmp_path: Path) -> None:
        shell, token = Shell(tmp_path / "home"), team.service.tokens.create("ann", "user")
        code = tmp_path / "code"
        code.mkdir()
        (code / "own.py").write_text(
            "def train(config, trial):\n    yield {'score': config['x']}\n"
        )
        space = {"x": {"low": 0.0, "high": 1.0}}
        own = {"name": "own", "objective": {"metric": "score"}, "trainable": "own.py:train"}
        (code / "own.yaml").write_text(yaml.safe_dump({**own, "space": space}))

        async def talk() -> None:
            async with agent(tmp_path, env=shell.environment) as hpsearch:
                submission = {"spec": str(code / "own.yaml")}
                assert "working_dir" in await hpsearch.refused("submit", **submission)
                found = await hpsearch.ask("submit", **submission, working_dir=str(code))
                assert (found["name"], found["state"]) == ("own", "queued")

        with served(team.app) as url:
            shell.run("login", url, "--token", token)
            anyio.run(talk)
        row = team.service.table.get("own")
        assert (team.service.uploads.folder(row.code_hash) / "own.py").is_file()

"""A training function runs in its owner's thread, with settings of its own, and to its end."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hpsearch.errors import UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training import launch
from hpsearch.training.protocol import AfterLastEpochError
from hpsearch.training.user_code import lockstep
from hpsearch.training.user_code.classes import ClassTrainer
from hpsearch.training.user_code.functions import FunctionTrainer

Trainers = Callable[..., FunctionTrainer | ClassTrainer]
EVENTS: list[Any] = []


@pytest.fixture(autouse=True)
def no_events() -> None:
    EVENTS.clear()


@pytest.fixture
def trainers(tmp_path: Path) -> Iterator[Trainers]:
    """Make a trainer of something in this file, whose folder is `tmp_path`; all are closed."""
    made = []

    def make(name: str, *, metric: str = "", **space: Any) -> FunctionTrainer | ClassTrainer:
        name = f"{__name__}:{name}"
        config = TrialConfig(
            0, 0, 3, {"space": space}, metric=metric, trainable=name, folder=str(tmp_path)
        )
        made.append(launch(config, None))
        return made[-1]

    yield make
    for trainer in made:
        trainer.close()


def in_the_main_thread(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    signal.signal(signal.SIGUSR1, lambda number, frame: EVENTS.append("signal"))
    yield {"is_main": threading.current_thread() is threading.main_thread()}
    os.kill(os.getpid(), signal.SIGUSR1)
    yield {"rows": sum(len(rows) for (rows,) in loader())}
    yield {"ranks": summed_over_ranks(), "spawned": spawned()}


def loader() -> DataLoader[Any]:
    rows = TensorDataset(torch.arange(8.0))
    return DataLoader(rows, batch_size=4, num_workers=2, multiprocessing_context="fork")


def summed_over_ranks() -> torch.Tensor:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", address, rank=0, world_size=1)
    try:
        value = torch.ones(1)
        torch.distributed.all_reduce(value)
        return value
    finally:
        torch.distributed.destroy_process_group()


def spawned() -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=os.getpid)
    process.start()
    process.join()
    return process.exitcode


def within_settings(config: dict[str, Any], trial: Any) -> None:
    torch.set_default_dtype(torch.float64)
    os.chdir("..")
    sys.argv.append("--mine")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        trial.report({"loss": 1.0})
        EVENTS.append(settings())
    with torch.inference_mode():
        trial.report({"loss": 1.0})
        EVENTS.append(settings())
    torch.set_default_device("meta")
    trial.report({"loss": 1.0})
    EVENTS.append(settings())
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)


def settings() -> dict[str, Any]:
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "autocast_dtype": torch.get_autocast_dtype("cpu"),
        "dtype": torch.get_default_dtype(),
        "device": str(torch.get_default_device()),
        "made_on": str(torch.empty(1).device),
        "folder": Path.cwd(),
        "arguments": list(sys.argv),
    }


def within_a_loop(config: dict[str, Any], trial: Any) -> None:
    async def epoch() -> None:
        trial.report({"loss": 1.0})

    asyncio.run(epoch())


def with_an_end(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    try:
        for _ in range(trial.max_epochs):
            yield {"loss": 1.0}
        EVENTS.append("after the loop")
        if "error" in config:
            raise RuntimeError(config["error"])
        EVENTS.append("end")
    except BaseException as error:
        EVENTS.append(type(error).__name__)
        raise
    finally:
        EVENTS.append("finally")


def endless(config: dict[str, Any], trial: Any) -> None:
    while True:
        trial.report({"loss": 1.0})


def deaf(config: dict[str, Any], trial: Any) -> None:
    while True:
        try:
            trial.report({"loss": 1.0})
        except BaseException:
            EVENTS.append("ignored")


def interrupted(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    try:
        yield {"loss": 1.0}
        signal.raise_signal(signal.SIGINT)
    finally:
        EVENTS.append("finally")


def from_another_thread(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    thread = threading.Thread(target=report_and_note, args=(trial,))
    thread.start()
    thread.join()
    yield {"loss": 1.0}


def report_and_note(trial: Any) -> None:
    try:
        trial.report({"loss": 2.0})
    except UserCodeError as error:
        EVENTS.append(str(error))


def now_and_then(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        score = {"score": epoch / 10} if epoch in config["at"] else {}
        yield {"loss": 1.0, **score}
        trial.save_checkpoint(epoch)


def seeded(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    np.random.seed(trial.seed)
    yield {"loss": trial.seed}


def changing(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    config["layers"]["sizes"].append(9)
    yield {"loss": len(config["layers"]["sizes"])}


def relative(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"loss": float(Path("value.txt").read_text())}
    Path("out.txt").write_text("written")
    yield {"loss": 0.0}


#: functions that ignored their ends, kept as in a worker
LEFT: list[Any] = []


class Relative:
    """Reads and writes beside the spec."""

    def __init__(self, config: dict[str, Any], trial: Any) -> None:
        self.value = float(Path("value.txt").read_text())

    def train_epoch(self) -> dict[str, float]:
        Path("out.txt").write_text("written")
        return {"loss": self.value}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


class Sparse(Relative):
    """Never reports the objective."""

    def __init__(self, config: dict[str, Any], trial: Any) -> None:
        self.value = 1.0


class TestThread:
    def test_is_the_main_one_where_signals_workers_and_ranks_work(
        self, trainers: Trainers
    ) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        trainer = trainers("in_the_main_thread")
        try:
            reports = [trainer.train_epoch() or {} for _ in range(3)]
        finally:
            signal.signal(signal.SIGUSR1, before)
        metrics = {name: value for report in reports for name, value in report.items()}
        assert (metrics["is_main"], metrics["rows"]) == (1, 8)
        assert (metrics["ranks"], metrics["spawned"]) == (1, 0)
        assert EVENTS == ["signal"]

    def test_is_the_only_one_that_may_report(self, trainers: Trainers) -> None:
        assert trainers("from_another_thread").train_epoch()["loss"] == 1
        assert "must be reported from the thread and process of the training" in EVENTS[0]

    def test_may_be_another_one(self, trainers: Trainers) -> None:
        trainer = trainers("endless")

        def train() -> None:
            EVENTS.append(trainer.train_epoch())
            trainer.close()

        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        assert EVENTS[0]["loss"] == 1

    def test_passes_an_interrupt_on(self, trainers: Trainers) -> None:
        # A background job of a shell ignores it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        trainer = trainers("interrupted")
        trainer.train_epoch()
        with pytest.raises(KeyboardInterrupt):
            trainer.train_epoch()
        signal.signal(signal.SIGINT, before)
        assert EVENTS == ["finally"]


class TestSettings:
    def test_of_the_function_are_its_own(self, trainers: Trainers, tmp_path: Path) -> None:
        before = settings()
        trainer = trainers("within_settings")
        for _ in range(3):
            trainer.train_epoch()
            assert settings() == before
        first, second, third = EVENTS
        assert not first["grad"]
        assert (first["autocast"], first["autocast_dtype"]) == (True, torch.bfloat16)
        assert (first["device"], second["device"]) == ("meta", "cpu")
        assert (second["inference"], second["grad"]) == (True, False)
        assert (third["inference"], third["grad"], third["made_on"]) == (False, True, "meta")
        assert {each["dtype"] for each in EVENTS} == {torch.float64}
        assert {each["folder"] for each in EVENTS} == {tmp_path.parent}
        assert {tuple(each["arguments"]) for each in EVENTS} == {(__file__, "--mine")}

    def test_of_two_functions_do_not_meet(self, trainers: Trainers) -> None:
        before = settings()
        one, other = trainers("within_settings"), trainers("within_settings")
        for trainer in (one, other, other, one, one, other):
            trainer.train_epoch()
            assert settings() == before
        assert [each["autocast"] for each in EVENTS] == [True, True, *[False] * 4]
        assert [each["inference"] for each in EVENTS] == [False, False, True, False, True, False]

    def test_leave_no_event_loop_behind(self, trainers: Trainers) -> None:
        trainers("within_a_loop").train_epoch()
        asyncio.run(asyncio.sleep(0))  # raises where a loop is running

    @pytest.mark.parametrize("name", ["relative", "Relative"])
    def test_begin_in_the_folder_of_the_spec(
        self, name: str, trainers: Trainers, tmp_path: Path
    ) -> None:
        before = Path.cwd()
        (tmp_path / "value.txt").write_text("0.5")
        trainer = trainers(name)
        assert trainer.train_epoch()["loss"] == 0.5
        trainer.train_epoch()
        assert (tmp_path / "out.txt").read_text() == "written"
        assert Path.cwd() == before


class TestEnd:
    def test_what_stands_after_the_loop_runs(self, trainers: Trainers) -> None:
        trainer = trainers("with_an_end")
        for _ in range(3):
            assert EVENTS == []
            trainer.train_epoch()
        assert EVENTS == ["after the loop", "end", "finally"]
        assert trainer.train_epoch() is None
        assert [each.check for each in trainer.take_warnings()] == ["checkpoint"]

    def test_an_error_there_is_raised_with_the_last_metrics(self, trainers: Trainers) -> None:
        trainer = trainers("with_an_end", error="the disk is full")
        for _ in range(2):
            trainer.train_epoch()
        with pytest.raises(AfterLastEpochError, match="the disk is full") as caught:
            trainer.train_epoch()
        assert caught.value.metrics["loss"] == 1
        assert isinstance(caught.value.error, RuntimeError)
        assert trainer.epoch == 3

    def test_a_stopped_function_does_not_reach_it(self, trainers: Trainers) -> None:
        trainer = trainers("with_an_end")
        trainer.train_epoch()
        trainer.close()
        assert EVENTS == ["GeneratorExit", "finally"]

    def test_a_function_that_reports_on_is_ended_there(self, trainers: Trainers) -> None:
        trainer = trainers("endless")
        for _ in range(3):
            trainer.train_epoch()
        assert trainer.train_epoch() is None
        *_, last = trainer.take_warnings()
        assert "reports more than trial.max_epochs (3) epochs" in str(last)

    def test_a_function_that_ignores_its_end_is_left(
        self, monkeypatch: pytest.MonkeyPatch, trainers: Trainers, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(lockstep, "abandoned", LEFT)  # not for the tests after it
        trainer = trainers("deaf")
        trainer.train_epoch()
        with caplog.at_level(logging.WARNING):
            trainer.close()
        assert EVENTS == ["ignored"] * lockstep.MAX_IGNORED_ENDS
        assert "deaf (trial 0) keeps running after it was closed" in caplog.text
        assert len(lockstep.abandoned) == 1


class TestMissingObjective:
    @pytest.mark.parametrize(
        ("at", "expected"),
        [
            ([1, 3], [0.1, 0.1, 0.3]),
            ([1], [0.1, 0.1, 0.1]),
            ([2], [None, 0.2, 0.2]),
            ([3], [None, None, 0.3]),
        ],
    )
    def test_is_its_last_value_which_is_said_once(
        self, at: list[int], expected: list[float | None], trainers: Trainers
    ) -> None:
        trainer = trainers("now_and_then", metric="score", at=at)
        reports = [trainer.train_epoch() or {} for _ in range(3)]
        assert [report.get("score") for report in reports] == expected
        first = next(epoch for epoch in (1, 2, 3) if epoch not in at)
        said = f"the report of epoch {first} lacks the objective 'score'"
        assert said in str(*trainer.take_warnings())

    def test_survives_an_interruption(self, trainers: Trainers) -> None:
        first, second = (trainers("now_and_then", metric="score", at=[1]) for _ in range(2))
        for _ in range(2):
            first.train_epoch()
        second.load_state_dict(first.state_dict())
        assert second.epoch == 2
        assert second.train_epoch()["score"] == 0.1

    @pytest.mark.parametrize("name", ["now_and_then", "Sparse"])
    def test_that_never_comes_is_an_error_with_the_nearest_name(
        self, name: str, trainers: Trainers
    ) -> None:
        trainer = trainers(name, metric="lose", at=[])
        trainer.train_epoch(), trainer.train_epoch()
        expected = r"no report held the objective 'lose', only 'loss', 'seconds'.*mean 'loss'"
        with pytest.raises(UserCodeError, match=expected.replace(", 'seconds'", "")):
            trainer.train_epoch()


class TestConfiguration:
    def test_each_attempt_has_its_own(self, trainers: Trainers) -> None:
        trainer = trainers("changing", layers={"sizes": [8]})
        for _ in range(2):
            assert trainer.train_epoch()["loss"] == 2
            trainer.load_state_dict(trainer.state_dict())

    def test_has_a_seed_that_numpy_takes(self, tmp_path: Path) -> None:
        seeds = set()
        for number in range(8):
            name = f"{__name__}:seeded"
            config = TrialConfig(number, 0, 1, {"space": {}}, trainable=name, folder=str(tmp_path))
            seeds.add((launch(config, None).train_epoch() or {})["loss"])
        assert len(seeds) == 8
        assert max(seeds) < 2**32


def test_an_error_is_shown_with_the_line_of_the_function(trainers: Trainers) -> None:
    trainer = trainers("with_an_end", error="the disk is full")
    try:
        for _ in range(3):
            trainer.train_epoch()
    except AfterLastEpochError as error:
        assert "with_an_end" in "".join(traceback.format_exception(error.error))

"""What a script reports becomes one set of metrics an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import UserCodeError
from hpsearch.training.command.epoch_log import EpochLog
from hpsearch.training.command.epochs import EpochMetrics, ScriptReport


def taken(epochs: EpochMetrics) -> list[dict[str, float]]:
    found = []
    while (metrics := epochs.take()) is not None:
        found.append(metrics)
    return found


def values(epochs: EpochMetrics, *reports: ScriptReport) -> list[float]:
    for report in reports:
        epochs.add(report)
    return [metrics["acc"] for metrics in taken(epochs)]


def of_epoch(epoch: int | None, **metrics: float) -> ScriptReport:
    return ScriptReport(metrics, epoch=epoch)


def of_step(step: int, **metrics: float) -> ScriptReport:
    return ScriptReport(metrics, step=step)


def test_an_epoch_is_complete_with_the_objective() -> None:
    epochs = EpochMetrics("acc")
    assert not epochs.add(of_epoch(1, loss=3.0))
    assert epochs.take() is None
    assert epochs.add(of_epoch(1, acc=0.5))
    assert taken(epochs) == [{"loss": 3.0, "acc": 0.5}]


@pytest.mark.parametrize("first", [0, 1])
def test_epochs_count_from_0_or_from_1(first: int) -> None:
    reports = [of_epoch(first + i, acc=float(i)) for i in range(3)]
    assert values(EpochMetrics("acc"), *reports) == [0.0, 1.0, 2.0]


def test_without_an_epoch_reports_are_counted() -> None:
    epochs = EpochMetrics("acc")
    reports = [of_epoch(None, loss=1.0), of_epoch(None, acc=0.1), of_epoch(None, acc=0.2)]
    assert values(epochs, *reports) == [0.1, 0.2]
    assert epochs.epoch == 2


def test_epochs_without_a_report_have_the_last_one() -> None:
    reports = [of_epoch(2, acc=0.2), of_epoch(5, acc=0.5)]
    assert values(EpochMetrics("acc"), *reports) == [0.2, 0.2, 0.2, 0.2, 0.5]


@pytest.mark.parametrize("first", [0, 1])
def test_steps_make_epochs(first: int) -> None:
    epochs = EpochMetrics("acc", steps_per_epoch=100)
    steps = [first + 99, first + 149, first + 199]  # the middle one completes no epoch
    assert values(epochs, *(of_step(s, acc=float(s)) for s in steps)) == [steps[0], steps[2]]


def test_steps_per_epoch_prefers_the_step_to_the_epoch() -> None:
    epochs = EpochMetrics("acc", steps_per_epoch=100)
    reports = [ScriptReport({"acc": float(s)}, epoch=0, step=s) for s in (100, 200)]
    assert values(epochs, *reports) == [100.0, 200.0]


def test_the_first_epoch_counts_whatever_it_reports() -> None:
    reports = [of_epoch(0, loss=1.0), of_epoch(1, acc=0.1), of_epoch(3, acc=0.3)]
    assert values(EpochMetrics("acc"), *reports) == [0.1, 0.1, 0.1, 0.3]


def test_reports_without_an_epoch_go_on_from_those_with_one() -> None:
    reports = [of_epoch(0, acc=0.0), of_epoch(None, acc=0.1), of_epoch(None, acc=0.2)]
    assert values(EpochMetrics("acc"), *reports) == [0.0, 0.1, 0.2]


def test_an_epoch_far_away_takes_no_memory() -> None:
    epochs = EpochMetrics("acc", max_epochs=3)
    assert values(epochs, of_epoch(10**12, acc=1.0)) == [1.0] * 4


def test_steps_per_epoch_needs_steps() -> None:
    with pytest.raises(UserCodeError, match="must give the step"):
        EpochMetrics("acc", steps_per_epoch=10).add(of_epoch(None, acc=1.0))


@pytest.mark.parametrize(
    ("continues", "numbered", "expected"),
    [
        (False, True, [2.0, 3.0]),  # it starts over: epochs 0 and 1 are known
        (True, True, [2.0, 3.0]),
        (False, False, [2.0, 3.0]),
        (True, False, [0.0, 1.0, 2.0, 3.0]),  # it counts on
    ],
)
def test_a_restarted_script_goes_on(
    continues: bool, numbered: bool, expected: list[float]
) -> None:
    state: dict[str, Any] = {"epoch": 2, "counts_from_zero": True}
    epochs = EpochMetrics("acc")
    epochs.resume(state, continues)
    reports = [of_epoch(i if numbered else None, acc=float(i)) for i in range(4)]
    assert values(epochs, *reports) == expected


@pytest.mark.parametrize("numbered", [True, False])
def test_what_the_worker_did_not_save_is_in_the_log(numbered: bool, tmp_path: Path) -> None:
    """A script that counts from 0 goes on at its fourth epoch; the worker knows of one."""
    log = EpochLog(tmp_path / "files.jsonl")
    reports = [of_epoch(i if numbered else None, acc=float(i)) for i in range(5)]
    values(EpochMetrics("acc", log=log), *reports[:3])
    with log.path.open("a") as file:
        file.write('{"metrics": {"ac')  # killed while it wrote
    for state in ({"epoch": 0, "counts_from_zero": None}, {"epoch": 1, "counts_from_zero": True}):
        epochs = EpochMetrics("acc", log=log)
        epochs.resume(state, continues=True)
        expected = [0.0, 1.0, 2.0, 3.0, 4.0][state["epoch"] :]
        assert values(epochs, *reports[len(log.read()) :]) == expected


def test_a_known_epoch_waits_for_nothing() -> None:
    epochs = EpochMetrics("acc")
    epochs.resume({"epoch": 3, "counts_from_zero": False}, continues=True)
    assert not epochs.add(of_epoch(3, acc=1.0))
    assert epochs.add(of_epoch(4, acc=1.0))

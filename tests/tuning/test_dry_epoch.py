"""The first epoch of a user's code: its failure ends the search, and costs no trial."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpsearch.analysis.next_steps import next_steps, why_no_best
from hpsearch.analysis.progress import summary
from hpsearch.binding import bind_code
from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import CodeChangedError
from hpsearch.integrity.record_rules import record_problems
from hpsearch.live import LiveView
from hpsearch.outcome import Outcome
from hpsearch.process import keep_process
from hpsearch.record import Record, needs_dry_epoch, passed_dry_epoch
from hpsearch.runs import SearchFolder
from hpsearch.samplers import make_sampler
from hpsearch.spec import SearchSpec
from hpsearch.tuning.control import MAX_DEATHS_IN_A_ROW, SearchControl
from hpsearch.tuning.dry_run import ALONE_S
from hpsearch.tuning.on_ray.actor import TrialActor
from hpsearch.tuning.report import Report
from hpsearch.user_code import code_hashes
from tests.support.clock import FakeClock
from tests.support.specs import make_spec

CODE = """
from pathlib import Path
from hpsearch import BadConfigurationError

def train(config, trial):
    rows = Path("rows.txt").read_text()
    for epoch in range(trial.max_epochs):
        yield {"score": config["x"]}

def wrong_name(config, trial):
    for epoch in range(trial.max_epochs):
        yield {"scores": 1.0}

def bad_configuration(config, trial):
    raise BadConfigurationError("x is too large")

def reports_text(config, trial):
    yield {"score": "high"}

def fails_later(config, trial):
    yield {"score": 1.0}
    raise OSError("away")
"""


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    restore = keep_process()
    yield
    restore()


def spec_of(folder: Path, function: str = "train", **search: Any) -> SearchSpec:
    file = f"dry_{abs(hash(str(folder)))}.py"
    (folder / file).write_text(CODE)
    return make_spec(
        folder,
        objective={"metric": "score"},
        trainable=f"{file}:{function}",
        space={"x": {"low": 0.0, "high": 1.0}},
        search={"trials": 3, "early_stopping": {"name": "none", "max_epochs": 2}, **search},
    )


def begin(folder: Path, function: str = "train", **search: Any) -> Record:
    spec = spec_of(folder, function, **search)
    (folder / "runs" / "small").mkdir(parents=True)
    journal = folder / "runs" / "small" / "record.journal"
    return Record.create(journal, spec, code=code_hashes(spec))


def control_of(record: Record, clock: FakeClock | None = None) -> SearchControl:
    rule = make_early_stopper(record.spec)
    random = {"name": "random"}
    sampler = make_sampler(
        random, record.space, seed=0, direction="maximize", rungs=rule.rungs, slots=1
    )
    assert record.search_folder is not None
    checkpoints = record.search_folder / "checkpoints"
    return SearchControl(record, sampler, rule, checkpoints, clock=clock or FakeClock())


def run(record: Record) -> Record:
    """Train one trial after another, as workers do, to the end of the search."""
    record.code = None  # no driver has written a copy of it
    control = control_of(record)
    while not control.is_over:
        trial = control.next_trial()
        assert trial is not None
        worker = TrialActor.__new__(TrialActor)
        assert record.search_folder is not None
        config = record.config(trial)
        worker.setup({"trial": config}, checkpoints=str(record.search_folder / "checkpoints"))
        control.start_attempt(trial.number)
        while not control.take_report(trial.number, worker.step()["report"]):
            pass
        worker.cleanup()
    control.close()
    return record


def resumed(record: Record) -> Record:
    again = Record.reopen(record.place, "small")
    assert again.is_suspended
    bound = bind_code(again)
    again.bind(bound.spec.folder, bound.code)
    again.go_on()
    return again


def test_a_failure_before_the_first_report_ends_the_search_and_excuses_the_trial(
    tmp_path: Path,
) -> None:
    record = run(begin(tmp_path, max_retries=1))
    (trial,) = record.trials
    assert (record.state, trial.outcome, trial.attempts) == ("failed", None, 2)
    assert [error.get("excused", False) for error in trial.errors] == [False, True]
    assert record.reason is not None
    file = record.spec.trainable.partition(":")[0]  # type: ignore[union-attr]
    place, cause = f"trainable: the dry epoch of {file}:train failed: ", "FileNotFoundError: "
    assert record.reason.startswith(place + cause)
    assert f"rows.txt' (line 6 of {tmp_path / file}); no trial was counted" in record.reason
    assert record.reason.endswith("correct it, then `hpsearch resume small`")
    assert list(record_problems(Record.open(record.place, "small"))) == []
    assert why_no_best(record) == record.reason
    assert summary(record).running == 0
    assert "hpsearch resume small" in next_steps(record)


def test_a_line_of_ours_is_not_named(tmp_path: Path) -> None:
    record = run(begin(tmp_path, "reports_text"))
    why = "UserCodeError: the report of epoch 1: score must be a number, but got 'high'"
    assert record.reason is not None
    assert f"failed: {why}; no trial was counted" in record.reason


def test_the_trial_starts_again_once_it_is_mended(tmp_path: Path) -> None:
    failed = run(begin(tmp_path))
    params = failed.trials[0].params
    (tmp_path / "rows.txt").touch()
    record = run(resumed(failed))
    assert record.state == "finished"
    assert [trial.outcome for trial in record.trials] == [Outcome.COMPLETED] * 3
    assert record.trials[0].params == params
    assert record.trials[0].errors[0]["excused"]


def test_a_driver_that_died_before_the_end_was_written_starts_it_again(tmp_path: Path) -> None:
    record = begin(tmp_path)
    record.add_trial({"x": 0.5})
    record.note_error(0, "OSError", None, excused=True)
    record = Record.reopen(record.place, "small")
    assert record.state == "running"
    record.go_on()
    assert control_of(record).next_trial() is record.trials[0]


def test_code_that_was_mended_needs_no_consent(tmp_path: Path) -> None:
    record = run(begin(tmp_path))
    file = tmp_path / record.spec.trainable.partition(":")[0]  # type: ignore[union-attr]
    file.write_text(CODE.replace("rows.txt", "."))
    again = Record.reopen(record.place, "small")
    assert bind_code(again).code != again.code
    again.trials[0].curve[1] = {"score": 1.0}  # it was trained with the code that there was
    with pytest.raises(CodeChangedError):
        bind_code(again)


def test_a_worker_that_dies_again_and_again_ends_the_search_too(tmp_path: Path) -> None:
    control = control_of(begin(tmp_path))
    assert control.next_trial() is not None
    ends = [control.lose_worker(0, "killed") for _ in range(MAX_DEATHS_IN_A_ROW)]
    assert ends == [False] * (MAX_DEATHS_IN_A_ROW - 1) + [True]
    assert control.lose_worker(0, "killed")  # Tune tells it twice
    assert control.ending is not None
    assert "its worker died 3 times: killed" in control.ending[1]
    control.close()
    assert [len(trial.errors) for trial in control.record.trials] == [1]


def test_a_wrong_name_of_the_objective_ends_the_search_with_the_nearest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        record = run(begin(tmp_path, "wrong_name"))
    assert [trial.outcome for trial in record.trials] == [None]
    assert "no report held the objective 'score'" in str(record.reason)
    said = "trial 0: no objective 'score' in the first report, only scores, seconds"
    assert [each.getMessage() for each in caplog.records] == [f"{said}; did you mean 'scores'?"]


def test_a_bad_configuration_is_the_trials_own(tmp_path: Path) -> None:
    record = run(begin(tmp_path, "bad_configuration"))
    assert [trial.outcome for trial in record.trials] == [Outcome.BAD_CONFIGURATION] * 3


def test_so_is_what_fails_after_a_report_and_what_fails_without_a_dry_epoch(
    tmp_path: Path,
) -> None:
    for name, search in (("fails_later", {}), ("train", {"dry_epoch": False})):
        folder = tmp_path / name
        folder.mkdir()
        record = run(begin(folder, name, **search))
        assert [trial.outcome for trial in record.trials] == [Outcome.FAILED] * 3


def test_others_wait_for_the_first_report_but_not_for_long(tmp_path: Path) -> None:
    clock = FakeClock()
    control = control_of(begin(tmp_path, trials=4), clock)
    assert control.next_trial() is not None
    control.start_attempt(0)
    assert control.next_trial() is None
    clock.now += ALONE_S
    assert control.next_trial() is not None
    again = control_of(begin_in(tmp_path / "other"), clock)
    assert again.next_trial() is not None
    again.take_report(0, Report(1, {"score": 1.0}))
    assert again.next_trial() is not None


def begin_in(folder: Path) -> Record:
    folder.mkdir()
    return begin(folder)


def test_changed_code_has_a_dry_epoch_of_its_own(tmp_path: Path) -> None:
    record = begin(tmp_path, trials=4)
    control_of(record).next_trial()
    record.start_attempt(0)
    record.report(0, 1, {"score": 1.0})
    assert passed_dry_epoch(record) is not None
    record.bind(record.spec.folder, {"other.py": "1"})
    assert passed_dry_epoch(record) is None


def test_only_code_of_the_users_has_one(tmp_path: Path) -> None:
    assert not needs_dry_epoch(make_spec())
    assert needs_dry_epoch(make_spec(model={"name": "nets.py:build"}))
    assert needs_dry_epoch(spec_of(tmp_path))
    assert not needs_dry_epoch(spec_of(tmp_path, dry_epoch=False))


def test_its_time_is_shown_once(tmp_path: Path) -> None:
    record = begin(tmp_path)
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    with LiveView(console) as view:
        assert record.search_folder is not None
        view.watch(record, SearchFolder(record.search_folder))
        control_of(record).next_trial()
        record.start_attempt(0)
        record.report(0, 1, {"score": 1.0})
    assert shown.getvalue().count("dry epoch passed in 0 s (trial 0)") == 1

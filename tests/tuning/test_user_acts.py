"""What users do to a running search, with real samplers, rules, records, actors and checkpoints,
but without Ray: each act happens once, also where the driver dies around it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpsearch.acts import check_act, pending, request
from hpsearch.acts.checks import clone_params
from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import SearchEndedError, SpecError
from hpsearch.integrity.record_rules import record_problems
from hpsearch.outcome import Outcome
from hpsearch.process import keep_process
from hpsearch.record import Act, Origin, Record, TrialRecord
from hpsearch.record.observations import Observations
from hpsearch.runs import Runs
from hpsearch.samplers import make_sampler
from hpsearch.spec import load_spec
from hpsearch.tuning.attempts import STOP_PATIENCE_S
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.on_ray.actor import TrialActor
from hpsearch.tuning.user_acts import UserActs
from tests.support.clock import FakeClock
from tests.support.specs import make_spec

TRAIN = """
import math

def train(config, trial):
    level = trial.load_checkpoint() or 0.0
    noise = trial.seed % 1000 / 1e6
    while trial.epoch < trial.max_epochs:
        level = 0.9 * level + 0.1 * (1 - (config["x"] - 0.3) ** 2) + 0.01 * math.sin(trial.epoch)
        yield {"score": level + noise, "seconds": 1.0}
        trial.save_checkpoint(level)
"""


@pytest.fixture(autouse=True)
def own_process() -> Iterator[None]:
    """Workers have processes of their own; here they share this one, by turns."""
    restore = keep_process()
    yield
    restore()


class Search:
    """A search in a folder, driven by one driver after another, each with two workers."""

    def __init__(self, runs: Path, **search: Any) -> None:
        runs.mkdir(exist_ok=True)
        module = f"acted_{abs(hash(str(runs)))}.py"
        (runs / module).write_text(TRAIN)
        early_stopping = search.pop("early_stopping", {"name": "none", "max_epochs": 4})
        spec = make_spec(
            runs,
            name="acted",
            objective={"metric": "score"},
            trainable=f"{module}:train",
            space={
                "x": {"low": 0.0, "high": 1.0},
                "kind": {"choices": [{"name": "a", "y": {"low": 1, "high": 8}}, {"name": "b"}]},
            },
            search={
                "trials": 4,
                "sampler": "random",
                "checkpoint_every": 1,
                "early_stopping": early_stopping,
                **search,
            },
        )
        self.folder = Runs(runs).create(spec)
        self.clock = FakeClock()
        self.record = self.folder.take_over()
        self.control = self._control()

    def die(self) -> None:
        """Let another driver take over."""
        self.record = self.folder.take_over()
        self.record.go_on()
        self.control = self._control()

    def ask(self, action: str, user: str = "ann", **what: Any) -> Act:
        return request(self.folder, user, action=action, **what)

    def act(self, action: str, **what: Any) -> Act:
        """Ask, and let the driver take it."""
        act = self.ask(action, **what)
        self.control.take_acts()
        return next(each for each in self.record.acts if each.id == act.id)

    def run(
        self, until: int | None = None, after: dict[int, Callable[[], object]] | None = None
    ) -> None:
        """Train to the end, or `until` so many reports, when workers die with their driver.

        `after` so many reports something is done.
        """
        workers: deque[tuple[TrialRecord, TrialActor]] = deque()
        count = 0
        while count != until:
            if not workers and not self.control.is_over and not self.control.begin():
                return
            while len(workers) < 2 and not self.control.is_over:
                trial = self.control.next_trial()
                if trial is None:
                    break
                workers.append((trial, self._start(trial)))
            if not workers:
                self.control.close()
                return
            trial, worker = workers.popleft()
            self._step(trial, worker, workers)
            count += 1
            (after or {}).get(count, lambda: None)()
        for _, worker in workers:
            worker.cleanup()

    def _step(self, trial: TrialRecord, worker: TrialActor, workers: Any) -> None:
        if not self.control.take_report(trial.number, worker.step()["report"]):
            workers.append((trial, worker))
            return
        if self.control.is_kept(trial.number):
            worker.keep()
        worker.cleanup()

    def _start(self, trial: TrialRecord) -> TrialActor:
        worker = TrialActor.__new__(TrialActor)
        worker.setup(
            {"trial": self.control.config(trial)}, checkpoints=str(self.folder.checkpoints)
        )
        self.control.start_attempt(trial.number)
        return worker

    def _sampler(self, rungs: tuple[int, ...]) -> Any:
        search = self.record.spec.search
        return make_sampler(
            search.sampler,
            self.record.space,
            seed=search.seed,
            direction=self.record.spec.objective.direction,
            rungs=rungs,
            slots=2,
        )

    def _control(self) -> SearchControl:
        rule = make_early_stopper(self.record.spec)
        return SearchControl(
            self.record,
            self._sampler(rule.rungs),
            rule,
            self.folder.checkpoints,
            self.folder.stop_request,
            clock=self.clock,
            folder=self.folder,
            remake_sampler=lambda: self._sampler(rule.rungs),
        )


def curve(trial: TrialRecord) -> dict[int, float]:
    return trial.metric("score")


def test_a_trial_that_a_user_stops_ends_and_another_takes_its_place(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.run(after={3: lambda: search.act("stop_trial", trial=0)})
    (act,) = search.record.acts
    assert (act.user, act.action, act.trial, act.refused) == ("ann", "stop_trial", 0, None)
    first, *others = search.record.trials
    assert (first.outcome, first.reason) == (Outcome.STOPPED_BY_USER, "stopped by ann")
    assert first.epochs < 4
    assert [trial.outcome for trial in others] == [Outcome.COMPLETED] * 3
    assert not list(pending(search.folder))


def test_a_worker_that_trains_on_for_long_after_its_trial_was_stopped_is_named(
    tmp_path: Path,
) -> None:
    search = Search(tmp_path)
    trial = search.control.next_trial()
    assert trial is not None
    search.control.start_attempt(trial.number)
    search.act("stop_trial", trial=0)
    assert not list(search.control.slow_to_stop())
    search.clock.now += STOP_PATIENCE_S + 1
    assert list(search.control.slow_to_stop()) == [0]
    assert search.control.lose_worker(0, "it was killed")
    assert not list(search.control.slow_to_stop())


def test_an_act_that_can_not_be_done_is_refused_with_its_reason(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    refused: list[str | None] = []

    def ask() -> None:
        refused.append(search.act("stop_trial", trial=9).refused)
        refused.append(search.act("go_on").refused)

    search.run(after={2: ask})
    assert refused == ["acted has no trial 9; it has 1 trial", "acted isn't paused"]
    late = search.ask("pause")
    with pytest.raises(SearchEndedError, match="`hpsearch extend acted` gives it more budget"):
        check_act(search.record, late)


def test_what_is_asked_too_late_is_refused_when_the_search_ends(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=1)
    search.run(after={4: lambda: search.ask("stop_trial", trial=0)})
    assert [act.refused for act in search.record.acts] == ["the search had ended"]
    assert search.record.trials[0].outcome is Outcome.COMPLETED
    assert not list(pending(search.folder))


def uninterrupted(tmp_path: Path, epochs: int) -> list[TrialRecord]:
    rule = {"name": "none", "max_epochs": epochs}
    search = Search(tmp_path / "long", early_stopping=rule)
    search.run()
    return search.record.trials


@pytest.mark.parametrize("keep", [1, 4])
def test_an_ended_trial_trains_on_as_if_it_had_been_longer(tmp_path: Path, keep: int) -> None:
    expected = uninterrupted(tmp_path, 9)
    search = Search(tmp_path / "short", keep_checkpoints=keep)

    def extend() -> None:  # one that isn't the best: where few are kept, its checkpoint is gone
        ended = [trial for trial in search.record.trials if trial.outcome is not None]
        search.act("extend_trial", trial=search.record.rank(ended)[-1].number, to_epoch=9)

    search.run(after={10: extend})
    (act,) = search.record.acts
    assert act.trial is not None and act.refused is None
    (longer,) = (trial for trial in search.record.trials if trial.origin)
    assert longer.origin == Origin(act.id, act.trial, 0 if keep == 1 else 4)
    assert (longer.outcome, longer.epochs) == (Outcome.COMPLETED, 9)
    assert sorted(longer.curve) == list(range(1 if keep == 1 else 5, 10))
    whole = search.record.whole_curve(longer, "score")
    assert whole == curve(expected[act.trial])
    assert sum(trial.origin is None for trial in search.record.trials) == 4
    assert not list(record_problems(search.record))
    seen = {each.number: each.curve for each in Observations(search.record).read()}
    assert act.trial not in seen and seen[longer.number] == whole


def test_a_running_trial_trains_on_to_its_new_end_and_no_rule_stops_it(tmp_path: Path) -> None:
    rule = {"name": "asha", "max_epochs": 4, "grace_period": 2, "reduction_factor": 2}
    plain = Search(tmp_path / "plain", early_stopping=rule)
    plain.run()
    stopped = [t.number for t in plain.record.trials if t.outcome is Outcome.STOPPED_EARLY]
    expected = uninterrupted(tmp_path, 9)[stopped[0]]
    search = Search(tmp_path / "short", early_stopping=rule)

    def extend() -> None:
        trials = search.record.trials
        if len(trials) > stopped[0] and trials[stopped[0]].epochs == 1 and not search.record.acts:
            assert search.act("extend_trial", trial=stopped[0], to_epoch=9).refused is None

    search.run(after=dict.fromkeys(range(1, 20), extend))
    trial = search.record.trials[stopped[0]]
    assert (trial.outcome, trial.epochs) == (Outcome.COMPLETED, 9)
    assert curve(trial) == curve(expected)
    assert not list(record_problems(search.record))


@pytest.mark.parametrize("rule", ["asha_promotion", "freeze_thaw"])
def test_a_trial_that_waits_at_a_rung_goes_on_when_a_user_wants_it(
    tmp_path: Path, rule: str
) -> None:
    search = Search(tmp_path, trials=6, early_stopping={"name": rule, "max_epochs": 9})

    def extend() -> None:
        waiting = [trial for trial in search.record.running() if trial.paused]
        worst = min(waiting, key=lambda trial: curve(trial)[1])
        search.act("extend_trial", trial=worst.number, to_epoch=4)

    search.run(after={4: extend})
    (act,) = search.record.acts
    assert act.trial is not None and act.refused is None
    trial = search.record.trials[act.trial]
    assert (trial.outcome, trial.epochs) == (Outcome.STOPPED_EARLY, 4)
    assert trial.reason == "epoch 4, to which a user let it train"
    assert all(each.outcome is not None for each in search.record.trials)
    assert not list(record_problems(search.record))


def test_a_clone_has_one_value_changed_and_is_beside_the_budget(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.run(after={3: lambda: search.act("clone_trial", trial=0, values={"x": 0.25})})
    clone = next(trial for trial in search.record.trials if trial.origin)
    assert clone.params == search.record.trials[0].params | {"x": 0.25}
    assert clone.outcome is Outcome.COMPLETED
    assert sum(trial.origin is None for trial in search.record.trials) == 4
    plain = Search(tmp_path / "plain")
    plain.run()
    chosen = [trial.params for trial in search.record.trials if trial.origin is None]
    assert chosen == [trial.params for trial in plain.record.trials]


def test_a_clone_may_change_a_choice_with_what_belongs_to_it(tmp_path: Path) -> None:
    search = Search(tmp_path)
    search.run(until=1)
    record = search.record
    other = "b" if record.trials[0].params["kind"] == "a" else "a"
    values = {"kind": other} if other == "b" else {"kind": "a", "kind.y": 3}
    taken = check_act(record, Act("1", "ann", 0.0, "clone_trial", trial=0, values=values))
    names = {"x", "kind"} | ({"kind.a.y"} if other == "a" else set())
    assert set(clone_params(record, taken)) == names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": 2}, "x: must be from 0 to 1, but got 2"),
        ({"xx": 0.5}, "xx: must be a hyperparameter that is searched"),
        ({}, "a clone must change a value of trial 0"),
        ({"kind": "c"}, "kind: must be one of 'a', 'b'"),
    ],
)
def test_a_clone_outside_of_the_space_is_refused(
    tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    search = Search(tmp_path)
    search.run(until=1)
    with pytest.raises(SpecError, match=f"^{re.escape(message)}") as refused:
        check_act(search.record, Act("1", "ann", 0.0, "clone_trial", trial=0, values=values))
    assert "None" not in str(refused.value)


def test_a_narrowed_range_holds_for_the_trials_to_come(tmp_path: Path) -> None:
    search = Search(tmp_path, trials=12)
    narrow = {"parameter": "x", "low": 0.4, "high": 0.5}
    search.run(after={6: lambda: search.act("narrow", **narrow)})
    (act,) = search.record.acts
    assert (act.old_low, act.old_high) == (0.0, 1.0)
    later = [t for t in search.record.trials if t.started_at > (act.taken_at or 0)]
    assert len(later) > 6
    assert all(0.4 <= float(trial.params["x"] or 0) <= 0.5 for trial in later)
    earlier = search.record.trials[: -len(later)]
    assert any(not 0.4 <= float(trial.params["x"] or 0) <= 0.5 for trial in earlier)
    assert {each.number for each in Observations(search.record).read()} >= {
        trial.number for trial in later
    }
    assert all(0.4 <= float(e.params["x"] or 0) <= 0.5 for e in Observations(search.record).read())
    assert search.folder.open_record().spec.space == search.record.spec.space
    assert load_spec(search.folder.spec).space == search.record.spec.space


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            {"parameter": "x", "high": 1.5},
            "high: must be from 0 to 1, but got 1.5",
        ),
        ({"parameter": "x", "low": 0.5, "high": 0.4}, "low: must be less than high (0.4), but"),
        ({"parameter": "x", "low": 0.5, "high": 0.5}, "low: must be less than high (0.5), but"),
        ({"parameter": "x"}, "low: must narrow x, which has this range already"),
        ({"parameter": "kind", "low": 1}, "parameter: must be a hyperparameter with a range"),
    ],
)
def test_a_range_that_is_no_narrower_is_refused(
    tmp_path: Path, what: dict[str, Any], message: str
) -> None:
    search = Search(tmp_path)
    with pytest.raises(SpecError, match=re.escape(message)):
        check_act(search.record, Act("1", "ann", 0.0, "narrow", **what))


def test_a_paused_search_lets_its_workers_go_and_goes_on_where_it_was(tmp_path: Path) -> None:
    plain = Search(tmp_path / "plain", checkpoint_every=None, time_limit=1000)
    plain.run()
    search = Search(tmp_path / "paused", checkpoint_every=None, time_limit=1000)
    search.run(after={5: lambda: search.act("pause")})
    assert search.record.state == "running" and search.record.is_resting
    unfinished = list(search.record.running())
    assert unfinished and search.control.num_live == 0
    assert all(trial.attempts == 1 for trial in unfinished)
    search.clock.now += 2000
    assert not search.control.should_stop_all()  # its time limit doesn't run meanwhile
    search.die()
    search.run()
    assert search.record.is_resting and not search.control.begin()
    search.act("go_on")
    search.run()
    assert search.folder.open_record().state == "finished"
    assert {t.number: curve(t) for t in search.record.trials} == {
        t.number: curve(t) for t in plain.record.trials
    }


ACTS: dict[str, dict[str, Any]] = {
    "stop_trial": {"trial": 0},
    "extend_trial": {"trial": 0, "to_epoch": 6},
    "clone_trial": {"trial": 0, "values": {"x": 0.25}},
    "narrow": {"parameter": "x", "low": 0.4, "high": 0.5},
}


def ends(record: Record) -> list[Any]:
    return [
        (t.params, t.outcome, t.origin is None, record.whole_curve(t, "score"))
        for t in record.trials
    ]


@pytest.mark.parametrize("action", ACTS)
@pytest.mark.parametrize("when", [3, 9])
@pytest.mark.parametrize("died", ["before", "recorded", "done"])
def test_an_act_happens_once_also_where_the_driver_dies_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, when: int, died: str
) -> None:
    """The driver dies before it takes the act, after the record has it, or after it is done."""
    search = Search(tmp_path)
    search.run(until=when)
    search.ask(action, **ACTS[action])
    if died == "recorded":
        monkeypatch.setattr(UserActs, "write", _die)
        monkeypatch.setattr("hpsearch.tuning.user_acts.withdraw", _die)
        with pytest.raises(KeyboardInterrupt):
            search.control.take_acts()
        monkeypatch.undo()
    elif died == "done":
        monkeypatch.setattr("hpsearch.tuning.user_acts.withdraw", _die)
        with pytest.raises(KeyboardInterrupt):
            search.control.take_acts()
        monkeypatch.undo()
    search.die()
    search.control.take_acts()
    search.die()
    search.run()
    record = search.record
    assert len(record.acts) == 1
    is_refused = action == "stop_trial" and when == 9
    assert (record.acts[0].refused is not None) is is_refused
    added = [trial for trial in record.trials if trial.origin]
    is_new = action == "clone_trial" or (action == "extend_trial" and when == 9)
    assert len(added) == is_new
    assert sum(trial.origin is None for trial in record.trials) == 4
    assert all(trial.outcome is not None for trial in record.trials)
    if action == "extend_trial":
        longest = max(record.trials, key=lambda trial: trial.epochs)
        assert sorted(record.whole_curve(longest, "score")) == list(range(1, 7))
    assert not list(record_problems(record))
    assert not list(pending(search.folder))


def _die(*_: object) -> None:
    raise KeyboardInterrupt

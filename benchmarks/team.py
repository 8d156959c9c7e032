"""The folder of a team's service: 1,000 searches with 100,000 trials, and drivers at work.

A search of each size is run for real, without Ray and training: sampler, ASHA and record decide
and write as in any search. The others are copies of it under their own names.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import insert

from hpsearch.analysis.plain import plain_summary
from hpsearch.early_stopping import make_early_stopper
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.samplers import make_sampler
from hpsearch.service.database import tables
from hpsearch.service.database.search_table import Actual, SearchRow
from hpsearch.service.database.tables import open_database
from hpsearch.service.database.tokens import Tokens
from hpsearch.spec import SearchSpec, read_draft
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.report import Report

SPEC = Path(__file__).resolve().parents[1] / "search_spaces" / "fashion_mnist_mlp.yaml"
#: trials of a search → searches of that size: 1,000 with 100,000 trials
SIZES = {1000: 20, 200: 180, 80: 400, 30: 400}
#: searches that run meanwhile, as many as `hpsearch serve` runs at once
NUM_RUNNING = 4
NUM_OWNERS = 10
#: searches of a size that somebody polls, at most
NUM_POLLED = 12
CONCURRENT = 8
#: seconds between two results of a search that runs
RESULT_S = 1.0


def make_team(folder: Path) -> str:
    """Fill the runs folder of a service and its table; returns an admin's token."""
    runs = Runs(folder)
    state = folder / ".service"
    state.mkdir(parents=True)
    rows = [row for trials, count in SIZES.items() for row in _searches(runs, trials, count)]
    random.Random(0).shuffle(rows)
    now = time.time()
    values = [
        asdict(row)
        | dict.fromkeys(("created_at", "queued_at", "changed_at"), now - 60 * age)
        | {"owner": f"user-{age % NUM_OWNERS}"}
        for age, row in enumerate(rows, start=1)
    ]
    engine = open_database(f"sqlite:///{state / 'service.db'}")
    with engine.begin() as connection:
        connection.execute(insert(tables.searches), values)
    token = Tokens(engine).create("user-0", "admin")
    engine.dispose()
    return token


@contextmanager
def driven(folder: Path) -> Iterator[None]:
    """Have drivers meanwhile that write the results of the searches that run."""
    ended = threading.Event()
    thread = threading.Thread(target=_drive, args=(Runs(folder), ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def running_names() -> list[str]:
    """Return the names of the searches that run: one of each size."""
    return [_name(trials, 0) for trials in SIZES]


def polled_names(count: int) -> list[str]:
    """Return the names of searches that have finished, as many of each size."""
    sizes = list(SIZES)
    return [_name(sizes[i % len(sizes)], 1 + i // len(sizes) % NUM_POLLED) for i in range(count)]


def unseen_names(count: int) -> list[str]:
    """Return the names of large searches that have finished and are none of those."""
    largest = max(SIZES)
    assert count < SIZES[largest] - NUM_POLLED
    return [_name(largest, SIZES[largest] - 1 - place) for place in range(count)]


def _name(trials: int, number: int) -> str:
    return f"mlp-{trials}-{number:03}"


def _searches(runs: Runs, trials: int, count: int) -> Iterator[SearchRow]:
    """Make the searches of one size: the first runs, the others have finished."""
    running = _work(runs, _spec(trials, 0), share=0.5)
    yield _row(running, "running")
    first = _work(runs, _spec(trials, 1), share=1.0)
    yield _row(first, "finished")
    for number in range(2, count):
        name = _name(trials, number)
        _copy(runs, first.name, name)
        if number == count - 1:  # it can be read
            assert len(runs.search(name).open_record().ranked()) == len(first.ranked())
        yield _row(first, "finished", name)


def _spec(trials: int, number: int) -> SearchSpec:
    draft = read_draft(SPEC, [f"name={_name(trials, number)}", f"search.trials={trials}"])
    assert draft.spec is not None, draft.problems
    return draft.spec


def _work(runs: Runs, spec: SearchSpec, share: float) -> Record:
    """Do a share of a search's trials."""
    folder = runs.create(spec)
    record = folder.take_over()
    control = _control(record, folder)
    live: deque[int] = deque()
    while len(record.trials) < share * spec.search.trials or live:
        if len(live) < CONCURRENT and len(record.trials) < share * spec.search.trials:
            trial = control.next_trial()
            assert trial is not None
            control.start_attempt(trial.number)
            live.append(trial.number)
        number = live.popleft()
        if not control.take_report(number, _report(record, number)):
            live.append(number)
    if share == 1.0:
        control.close()
        record.set_delivered()
    return record


def _control(record: Record, folder: SearchFolder) -> SearchControl:
    rule = make_early_stopper(record.spec)
    sampler = make_sampler(
        {"name": "random"},
        record.space,
        seed=record.spec.search.trials,
        direction=record.spec.objective.direction,
        rungs=rule.rungs,
        slots=CONCURRENT,
    )
    return SearchControl(record, sampler, rule, folder.checkpoints)


def _report(record: Record, number: int) -> Report:
    """Return a trial's next epoch: a curve whose end and speed are its own."""
    rng = random.Random(number)
    best, speed = rng.uniform(0.6, 0.9), rng.uniform(0.2, 1.5)
    epoch = record.trials[number].epochs + 1
    accuracy = best * (1 - math.exp(-speed * epoch))
    loss = 2.3 * (1 - accuracy)
    metrics = {"train_loss": 0.9 * loss, "val_loss": loss, "train_accuracy": accuracy + 0.02}
    return Report(epoch, {**metrics, "val_accuracy": accuracy, "lr": 0.01, "seconds": 0.2345})


def _copy(runs: Runs, source: str, name: str) -> None:
    """Copy a search under another name."""
    origin, folder = runs.search(source), SearchFolder(runs.path / name)
    folder.checkpoints.mkdir(parents=True)
    for path, copied in ((origin.spec, folder.spec), (origin.journal, folder.journal)):
        copied.write_text(path.read_text().replace(source, name))


def _row(record: Record, actual: Actual, name: str | None = None) -> SearchRow:
    name = name or record.name
    spec = record.spec.to_yaml().replace(record.name, name)
    return SearchRow(
        name, "", spec, desired="running", actual=actual, attempt=1, summary=plain_summary(record)
    )


def _drive(runs: Runs, ended: threading.Event) -> None:
    """Report an epoch of each search that runs, in turn, until `ended` is set."""
    with ExitStack() as stack:
        controls = []
        for name in running_names():
            folder = runs.search(name)
            stack.enter_context(folder.drive())
            controls.append(_control(folder.take_over(), folder))
        live: dict[str, int] = {}
        while not ended.wait(RESULT_S / NUM_RUNNING):
            controls.append(control := controls.pop(0))
            _go_on(control, live)


def _go_on(control: SearchControl, live: dict[str, int]) -> None:
    record = control.record
    number = live.get(record.name)
    if number is None:
        trial = control.next_trial()
        if trial is None:
            return
        control.start_attempt(trial.number)
        number = live[record.name] = trial.number
    if control.take_report(number, _report(record, number)):
        del live[record.name]

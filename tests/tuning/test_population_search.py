"""A population on a real cluster: killed, resumed, checked, and trained again from its record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hpsearch import Trainer
from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.record.lineage import lineage
from hpsearch.searches import run_search
from hpsearch.spec import load_spec
from hpsearch.validation import check_spec
from tests.support.breaking import kill_again_and_again, problems, search_folder

# An epoch takes so long that a search is still on when it has been seen to be.
SLOW = """
import time

from hpsearch.components.callbacks import Callback

class Slow(Callback):
    def measure(self, model, loss, batches):
        time.sleep(0.1)
        return {}
"""
SPEC = """
name: killed
objective: {metric: val_accuracy}
dataset: {name: digits, train_rows: 300}
model: {name: mlp, hidden_sizes: {choices: [[8], [16]]}, dropout: {low: 0.0, high: 0.5}}
optimizer:
  name: sgd
  lr: {low: 1.0e-4, high: 1.0, log: true}
  momentum: {low: 0.0, high: 0.99}
  weight_decay: {low: 1.0e-6, high: 1.0e-2, log: true}
batch_size: {choices: [16, 32]}
callbacks: [{name: "slow.py:Slow"}]
fuse: off
search:
  trials: 12
  max_concurrent: 1
  sampler: {name: pbt, population: 4, perturbation_interval: 1}
  early_stopping: {max_epochs: 5}
"""


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_population_copies_what_one_that_was_not_copies(folder: Path) -> None:
    (folder / "killed.yaml").write_text(SPEC)
    (folder / "slow.py").write_text(SLOW)
    assert kill_again_and_again(folder, 2, seed=0, longest=4) == 2
    assert problems(folder) == ()
    record = search_folder(folder).open_record()
    assert (record.state, len(record.sessions)) == ("finished", 3)
    spec = load_spec(folder / "killed.yaml").model_copy(update={"name": "whole"})
    whole = run_search(spec, folder / "runs", progress=False).record
    assert essence(record) == essence(whole)
    assert sum(each.copied_from is not None for each in record.trials) >= 3
    assert sum(len(each.curve) for each in record.trials) == 4 * 5
    report = (search_folder(folder).path / "report.md").read_text()
    assert "## Population" in report and "The weights of the best trial" in report
    trains_again(record)
    shutil.rmtree(folder / "runs")


def essence(record: Record) -> list[tuple[object, ...]]:
    """What a death must not change; seconds may differ."""
    return [
        (t.params, t.copied_from, t.metric("val_accuracy"), t.outcome, t.stopped_by)
        for t in record.trials
    ]


def trains_again(record: Record) -> None:
    """The best is what its lineage makes of the first member's fresh weights, bit for bit."""
    spec, data = check_spec(record.spec, is_new=False)
    assert data is not None and record.best is not None
    assert record.best.outcome is Outcome.COMPLETED
    stretches = lineage(record.trials, record.best)
    assert len(stretches) > 1
    before: Trainer | None = None
    for stretch in stretches:
        trainer = Trainer(record.config(stretch.trial), data)
        if before is not None:
            trainer.load_state_dict(before.state_dict())
        for epoch in range(stretch.first, stretch.last + 1):
            metrics = trainer.train_epoch()
            assert metrics is not None
            told = stretch.trial.curve[epoch]
            assert {**metrics, "seconds": 0} == {**told, "seconds": 0}
        before = trainer

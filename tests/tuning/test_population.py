"""Populations: exploits by the real control loop, samplers, records and checkpoints, without Ray:
a driver that dies anywhere changes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hpsearch.integrity.record_rules import record_problems
from hpsearch.record import Record
from hpsearch.spec import SearchSpec
from tests.tuning.test_control import (
    Driver,
    begin,
    cut_last_entry,
    finish,
    function_spec,
    kept_files,
    own_process,  # noqa: F401 (a fixture)
    summary,
)

#: as `train` of test_control, but levels add up, and members diverge
TRAIN = """
import math

def train(config, trial):
    level = trial.load_checkpoint() or 0.0
    while trial.epoch < trial.max_epochs:
        level += 0.1 * (1 - (config["x"] - 0.3) ** 2) + 0.01 * math.sin(trial.epoch + trial.number)
        if config["x"] > 0.9 and trial.epoch == 1:
            level = math.inf
        yield {"score": level, "seconds": 1.0}
        trial.save_checkpoint(level)

def saves_once(config, trial):
    level = trial.load_checkpoint() or 0.0
    while trial.epoch < trial.max_epochs:
        level += config["x"]
        yield {"score": level, "seconds": 1.0}
        if trial.epoch == 1:
            trial.save_checkpoint(level)
"""


def population_spec(
    folder: Path, sampler: str = "pbt", function: str = "train", **search: Any
) -> SearchSpec:
    (folder / "population.py").write_text(TRAIN)
    settings = {
        "sampler": {"name": sampler, "population": 5, "perturbation_interval": 2},
        "early_stopping": {"max_epochs": 7},
        "trials": 30,
        **search,
    }
    spec = function_spec(folder, **settings)
    return spec.model_copy(update={"trainable": f"population.py:{function}"})


def copies(record: Record) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.copied_from) for trial in record.trials if trial.copied_from]


@pytest.mark.parametrize(("sampler", "slots"), [("pbt", 1), ("pb2", 3)])
def test_a_driver_that_dies_again_and_again_finds_what_one_finds(
    tmp_path: Path, sampler: str, slots: int
) -> None:
    spec = population_spec(tmp_path, sampler)
    expected = finish(begin(spec, tmp_path / "whole"), tmp_path / "whole", slots=2)
    folder, rng, deaths = tmp_path / "broken", random.Random(slots), 0
    record = begin(spec, folder)
    while record.state == "running":
        num_reports = rng.randint(0, 9)
        for i, _ in enumerate(Driver(record, folder, slots).reports()):
            if i == num_reports:
                deaths += 1
                cut_last_entry(folder / "record.journal", rng)
                break
        record = Record.reopen(folder / "record.journal", "steps")
        if record.state == "running":
            record.go_on()
    assert deaths > 3
    assert len(copies(record)) >= 6
    assert copies(record) == copies(expected)
    assert summary(record) == summary(expected)
    assert kept_files(folder) == kept_files(tmp_path / "whole")
    assert list(record_problems(record)) == []

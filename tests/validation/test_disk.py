"""Quotas of disk: checked before a search starts, and held while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch import registry
from hpsearch.components import load_data
from hpsearch.errors import SearchEndedError, SearchFailedError, SpecError
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.searches import extend_search, resume_search, run_search
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.validation.disk import check_disk, checkpoint_bytes, num_checkpoints
from tests.support.specs import make_spec

DATA = load_data({"name": "digits"}, seed=0)
SAVES = """
def train(config, trial):
    saved = trial.load_checkpoint() or {"epoch": 0}
    for epoch in range(saved["epoch"] + 1, 4):
        yield {"score": config["x"]}
        trial.save_checkpoint({"epoch": epoch, "weights": bytes(1_000_000)})
"""
WIDE = {"name": "mlp", "hidden_sizes": {"choices": [[16], [4096, 4096]]}}


def test_a_quota_that_is_too_small_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    # The wide net has 64·4096 + 4096² + 4096·10 weights and as many biases: 17 million.
    spec = make_spec(model=WIDE, search={"disk_quota": "500MB"})
    with pytest.raises(SpecError, match=r"disk_quota: must be at least 6\d\d MB \(3 checkpoints"):
        check_disk(spec, DATA, 1, tmp_path)
    check_disk(make_spec(model=WIDE, search={"disk_quota": "1GB"}), DATA, 1, tmp_path)


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    spec = make_spec(model=WIDE, search={"keep_checkpoints": 1_000_000})
    with pytest.raises(SpecError, match="search.keep_checkpoints: needs .* has .* left"):
        check_disk(spec, DATA, 1, tmp_path)


#: the rest keep what they are said to keep with their defaults
KEYWORDS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "rmsprop": {"momentum": 0.9},
    "lbfgs": {"history_size": 4, "max_iter": 8},
}


@pytest.mark.parametrize(
    "name",
    [
        *registry.names("optimizer"),
        *("po:adamp", "po:soap", "po:splus", "po:schedulefreeadamw"),
        f"{__name__}:make_averaged",
    ],
)
def test_what_a_checkpoint_takes_is_known_before(tmp_path: Path, name: str) -> None:
    optimizer = {"name": name, "lr": 1e-3, **KEYWORDS.get(name, {})}
    ratio = ratio_of_estimate(tmp_path, optimizer=optimizer)
    if name == "adafactor":  # its means of rows and columns are up to a copy, of convolutions
        assert 1.0 < ratio < 2.0
    else:
        assert ratio == pytest.approx(1.0, abs=0.1)


def make_averaged(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.ASGD(params, lr)


@pytest.mark.parametrize("restore_best", [True, False])
def test_the_best_weights_are_a_copy_too(tmp_path: Path, restore_best: bool) -> None:
    callback = {"name": "early_stopping", "restore_best": restore_best}
    assert ratio_of_estimate(tmp_path, callbacks=[callback]) == pytest.approx(1.0, abs=0.1)


def ratio_of_estimate(folder: Path, **sections: Any) -> float:
    """Return the ratio of what a checkpoint is said to take and what it takes."""
    model = {"name": "mlp", "hidden_sizes": [400]}
    values = {"model": model, "optimizer": {"name": "adam"}, "batch_size": 256, **sections}
    trainer = Trainer(TrialConfig(0, 0, 1, values), DATA)
    trainer.train_epoch()
    path = CheckpointStore(folder, 0).save(1, {"trainer": trainer.state_dict()})
    return checkpoint_bytes(DATA, values, folder) / path.stat().st_size


def test_trials_that_wait_at_a_rung_keep_their_checkpoints() -> None:
    assert num_checkpoints(make_spec(search={"keep_checkpoints": 2}), slots=4) == 10
    promotion = make_spec(search={"trials": 50, "early_stopping": {"name": "asha_promotion"}})
    assert num_checkpoints(promotion, slots=4) == 59


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_over_its_quota_fails_and_goes_on_with_more(tmp_path: Path) -> None:
    (tmp_path / "saves_much.py").write_text(SAVES)
    spec = make_spec(
        tmp_path,
        objective={"metric": "score"},
        trainable="saves_much.py:train",
        space={"x": {"low": 0.0, "high": 1.0}},
        search={"trials": 3, "disk_quota": "500KB", "checkpoint_every": 1},
    )
    exceeded = r"disk_quota of 500 kB exceeded: the checkpoints take 1(\.0\d)? MB"
    with pytest.raises(SearchFailedError, match=exceeded):
        run_search(spec, tmp_path)
    place = Runs(tmp_path)
    folder = place.search("small")
    (trial,) = folder.open_record().trials
    assert trial.outcome is Outcome.STOPPED_EARLY and trial.reason is not None
    assert trial.reason.startswith("disk_quota")
    assert list(folder.checkpoints.iterdir()) == []
    assert check_search(folder.open_record(), folder, place.tracking_uri).problems == ()

    with pytest.raises(SearchEndedError, match="extend small"):
        resume_search("small", tmp_path)
    report = extend_search("small", tmp_path, num_bytes=5_000_000)
    assert (report.state, len(report.record.trials)) == ("finished", 3)
    assert check_search(folder.open_record(), folder, place.tracking_uri).problems == ()

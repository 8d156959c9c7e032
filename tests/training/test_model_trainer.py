"""What the trainers of a model have in common, with folds and without."""

from __future__ import annotations

import pytest

from hpsearch.components import load_data
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, make_trainer

CONFIG = TrialConfig(
    0,
    0,
    2,
    {
        "model": {"name": "mlp", "hidden_sizes": [4]},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "batch_size": 32,
    },
)


@pytest.mark.parametrize(("folds", "num_trainers"), [(0, 1), (3, 3)])
def test_weights_are_enough_to_evaluate(folds: int, num_trainers: int) -> None:
    data = load_data({"name": "wine", **({"folds": folds} if folds else {})}, seed=0)
    trained, loaded = make_trainer(CONFIG, data), make_trainer(CONFIG, data)
    trained.train_epoch()
    assert len(trained.trainers) == len(loaded.trainers) == num_trainers
    pairs = list(zip(trained.trainers, loaded.trainers, strict=True))
    assert not any(one.evaluate("val") == other.evaluate("val") for one, other in pairs)
    loaded.load_weights(trained.state_dict())
    assert all(one.evaluate("val") == other.evaluate("val") for one, other in pairs)
    assert not any("optimizer" in vars(each) for each in loaded.trainers), "it takes seconds"


def test_the_final_one_has_learned_from_all_rows_that_it_may() -> None:
    whole, folded = (
        load_data({"name": "wine"}, seed=0),
        load_data({"name": "wine", "folds": 3}, seed=0),
    )
    trainer = make_trainer(CONFIG, whole)
    assert trainer.final() is trainer
    final = make_trainer(CONFIG, folded).final()
    assert isinstance(final, Trainer)
    assert final.epoch == CONFIG.max_epochs
    assert final.data.num_train_rows == folded.merged().num_train_rows

"""Transformers as encoders of series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpsearch.components import load_data
from hpsearch.components.models.building import build_model
from hpsearch.errors import BadConfigurationError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

SMALL = {"name": "transformer", "width": 16, "heads": 2, "layers": 1}


def model(shape: tuple[int, ...], **keywords: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model({**SMALL, **keywords}, shape, 3, Path()).eval()


def order() -> Any:
    """Series of which the class says whether the high step comes before the low one."""
    rng = np.random.default_rng(0)
    x, y = 0.1 * rng.normal(size=(400, 8, 1)), rng.integers(0, 2, 400)
    places = np.sort(np.array([rng.choice(8, 2, replace=False) for _ in y]), 1)
    rows = np.arange(400)
    x[rows, places[rows, y], 0] += 1
    x[rows, places[rows, 1 - y], 0] -= 1
    return x.astype(np.float32), y


def trained(data: dict[str, Any], epochs: int, **keywords: Any) -> dict[str, float]:
    values = {
        "model": {**SMALL, **keywords},
        "optimizer": {"name": "adam", "lr": 0.005},
        "batch_size": 32,
    }
    trainer = Trainer(TrialConfig(0, 0, epochs, values), load_data(data, seed=0))
    return [trainer.train_epoch() or {} for _ in range(epochs)][-1]


def test_it_forecasts_better_than_the_last_season() -> None:
    data = {"name": "seasonal_series", "steps": 800, "period": 6, "lookback": 12, "horizon": 3}
    assert trained(data, 8, readout="last")["val_skill"] > 0.3


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_it_knows_the_order_of_steps(positions: str) -> None:
    data = {"name": f"{__name__}:order", "standardize": False}
    assert trained(data, 60, positions=positions)["val_accuracy"] > 0.9


class TestReadout:
    X = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))

    def test_all_steps_attend_to_all(self) -> None:
        """The first step's vector depends on the last step."""
        net = model((8, 4), readout="last")
        changed = self.X.clone()
        changed[:, 0] += 1
        assert not torch.allclose(net(self.X), net(changed))
        first: Any = net
        hidden = [first.blocks[0](first.embedding(x))[:, 0] for x in (self.X, self._later())]
        assert not torch.allclose(*hidden)

    def test_the_mean_is_of_all_steps(self) -> None:
        mean, last = (model((8, 4), readout=each) for each in ("mean", "last"))
        assert mean(self.X).shape == last(self.X).shape == (2, 3)
        assert not torch.allclose(mean(self.X), last(self.X))

    def _later(self) -> torch.Tensor:
        later = self.X.clone()
        later[:, -1] += 1
        return later


def test_what_has_no_steps_is_refused() -> None:
    with pytest.raises(BadConfigurationError, match="transformer needs ids of tokens, sequences"):
        model((5,))

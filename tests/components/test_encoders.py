"""What an encoder is told of the examples within a model that learns embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch.components import load_data
from hpsearch.components.tasks.kinds import Statement
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer

#: gives back raw values; a layer, so that there is something to train
CODE = """
import torch
from torch import nn

class Raw(nn.Module):
    def __init__(self, size, output_size, scale):
        super().__init__()
        self.layer = nn.Linear(size, output_size)
        self.register_buffer("mean", torch.from_numpy(scale.mean))
        self.register_buffer("std", torch.from_numpy(scale.std))
        self.seen = []

    def forward(self, x):
        self.seen.append((x * self.std + self.mean).detach())
        return self.layer(x.flatten(1))

def raw(input_shape, output_size, input_scale):
    return Raw(64, output_size, input_scale)
"""


@pytest.mark.parametrize("kind", ["pairs", "barlow_twins", "metric_learning"])
def test_it_knows_the_scale_of_the_examples(tmp_path: Path, kind: str) -> None:
    """Grey values of digits are whole numbers up to 16, before they are standardised."""
    (tmp_path / "encoder.py").write_text(CODE)
    encoder = {"name": "encoder.py:raw"}
    models: dict[str, Any] = {
        "pairs": {"name": "siamese", "encoder": encoder, "embedding_size": 3},
        "barlow_twins": {"name": "barlow_twins", "encoder": encoder, "embedding_size": 3},
        "metric_learning": encoder,
    }
    said = Statement(kind, f"the task is for {kind}")  # type: ignore[arg-type]
    data = load_data({"name": "digits", "train_rows": 200}, seed=0, said=said)
    values = {
        "model": models[kind],
        "task": {"name": kind},
        "augmentations": [] if kind != "barlow_twins" else [{"name": "flip"}],
        "optimizer": {"name": "adam"},
        "batch_size": 50,
    }
    trainer = Trainer(TrialConfig(0, 0, 1, values, folder=str(tmp_path)), data)
    net = getattr(trainer.model, "encoder", trainer.model)
    net.seen.clear()
    trainer.evaluate("val")
    raw = torch.cat([each.flatten() for each in net.seen]) * data.unit
    assert torch.allclose(raw, raw.round(), atol=1e-3)
    assert raw.min().round() == 0 and raw.max().round() == 16

"""Models that are trained in a second, and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpsearch.components import Data
from hpsearch.components.predictors import Predictor
from hpsearch.training import export_model
from tests.support.trainers import make


def customers(folder: Path) -> pd.DataFrame:
    """Write a table whose target follows from a number and a text; returns it as it is read."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 120),
            "color": rng.choice(["red", "blue", "green"], 120),
            "since": pd.date_range("2020-01-01", periods=120).astype(str),
            "income": rng.normal(5, 2, 120).round(2),
            "active": rng.choice(["true", "false"], 120),
        }
    )
    table["bought"] = np.where((table["color"] == "red") ^ (table["age"] > 45), "yes", "no")
    table.loc[[3, 70], "income"] = np.nan
    table.to_csv(folder / "t.csv", index=False)
    return pd.read_csv(folder / "t.csv")


def trained(data: Data, epochs: int = 1, **values: Any) -> Predictor:
    trainer = make(data, optimizer={"name": "adam", "lr": 0.01}, **values)
    for _ in range(epochs):
        trainer.train_epoch()
    return export_model(trainer)

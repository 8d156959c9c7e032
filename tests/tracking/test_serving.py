"""`mlflow.pyfunc` takes what users have from the registered model, and gives labels by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np

from hpsearch.components import Data
from hpsearch.components.datasets import bundled
from hpsearch.components.predictors import Predictor
from hpsearch.outcome import Outcome
from hpsearch.tracking import register_best, sync
from hpsearch.tuning.on_ray.final import _example
from tests.support.datasets import load
from tests.support.exported import customers, trained
from tests.support.mlflow_store import NAME, Store, add_trial, make_record


def test_mlflow_serves_a_table(tmp_path: Path, store: Store) -> None:
    table = customers(tmp_path)
    data = load("csv", tmp_path, path="t.csv", target="bought", missing="median")
    model = trained(data, epochs=40)
    got = _served(tmp_path, store, model, data).predict(table)
    assert got.equals(model.predict_table(table))
    assert (got["prediction"] == table["bought"]).mean() > 0.9


def test_mlflow_serves_raw_images_of_any_type(tmp_path: Path, store: Store) -> None:
    images, digits = bundled.read_digits()
    data = load("digits")
    served = _served(tmp_path, store, trained(data, epochs=3), data)
    for dtype in (np.float64, np.float32, np.uint8):
        got = served.predict(images.astype(dtype))
        assert (got["prediction"].to_numpy() == digits).mean() > 0.9


def _served(tmp_path: Path, store: Store, model: Predictor, data: Data) -> Any:
    record = make_record(tmp_path)
    add_trial(record, [0.5], Outcome.COMPLETED)
    sync(record, store.uri, store.artifacts)
    register_best(record, store.uri, record.trials[0], model, _example(data))
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    return mlflow.pyfunc.load_model(f"models:/{NAME}@best")

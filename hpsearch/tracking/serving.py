"""The registered model as `mlflow.pyfunc` loads it, which finds this module by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

    from hpsearch.components.predictors import Predictor


class PythonFunction:
    """What `mlflow.pyfunc.load_model(...).predict` calls."""

    def __init__(self, model: Predictor) -> None:
        self._model = model

    def get_raw_model(self) -> Predictor:
        """Return the module."""
        return self._model

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> DataFrame:
        """See Predictor.predict_table."""
        return self._model.predict_table(data)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> PythonFunction:
    import mlflow.pytorch

    return PythonFunction(mlflow.pytorch._load_pyfunc(path, model_config).get_raw_model())

"""The files of a model in MLflow's format: pickled, with its signature and what it needs."""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.frozen_code import source_of
from hpsearch.process import kept_logging, quiet
from hpsearch.tracking import serving

if TYPE_CHECKING:
    from torch import nn

_LIGHTNING = "mlflow.pytorch._lightning_autolog"


def save_model(
    path: Path,
    logged: Any,
    model: nn.Module,
    input_example: Any,
    code_paths: Sequence[Path],
) -> None:
    """Write a model in MLflow's format.

    It is pickled, although MLflow's default is a traced program: that can be neither trained
    nor put in evaluation mode after loading, and not every user's model can be traced. Nothing of
    hpsearch loads it again.
    """
    mlflow = import_pytorch_flavor()
    from mlflow.models import Model

    from hpsearch.components.predictors import Predictor

    model = copy.deepcopy(model).cpu().eval()
    described = Model(
        artifact_path=logged.artifact_location,
        run_id=logged.source_run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with _quiet():
        mlflow.pytorch.save_model(
            model,
            str(path),
            mlflow_model=described,
            signature=_signature(model, input_example),
            input_example=input_example,
            code_paths=[str(code) for code in code_paths] or None,
            pip_requirements=requirements(model),  # else MLflow loads the model to find them
            serialization_format="pickle",
        )
    if isinstance(model, Predictor):
        described.flavors["python_function"]["loader_module"] = serving.__name__
        described.save(str(path / "MLmodel"))


def copied_modules(folder: Path, modules: Mapping[str, Path]) -> list[Path]:
    """Copy modules to where a folder on `sys.path` has them; returns what to put there."""
    for name, file in modules.items():
        place = folder.joinpath(*name.split("."))
        is_package = file.name == "__init__.py"
        copied = place / file.name if is_package else place.with_suffix(file.suffix)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(source_of(file) or file.read_bytes())
    return sorted(folder.iterdir()) if modules else []


def requirements(model: nn.Module) -> list[str]:
    """Return what must be installed where a model is loaded."""
    made_of = {type(module).__module__.partition(".")[0] for module in model.modules()}
    imported = {"torchvision"} if "timm" in made_of else set()
    packages = {"torch", "numpy", *imported, *(made_of & {"hpsearch", "timm", "torchvision"})}
    return [f"{package}=={importlib.metadata.version(package)}" for package in sorted(packages)]


def import_pytorch_flavor() -> Any:
    """Return MLflow with `mlflow.pytorch` imported, but not PyTorch Lightning.

    For a callback of users of Lightning it would import all of that where it is installed, for
    seconds on the cores that train.
    """
    is_new = "mlflow.pytorch" not in sys.modules and _LIGHTNING not in sys.modules
    if is_new:
        sys.modules[_LIGHTNING] = None  # type: ignore[assignment]  # as if there were no Lightning
    try:
        with kept_logging():  # it sets the level of all loggers
            import mlflow.pytorch
    finally:
        if is_new:
            del sys.modules[_LIGHTNING]
    if is_new:
        mlflow.pytorch.__getattr__ = _lightning_callback
    return mlflow


def _lightning_callback(name: str) -> Any:
    """Import what `mlflow.pytorch` has for Lightning when it is asked for."""
    if name != "MlflowModelCheckpointCallback":
        raise AttributeError(f"module 'mlflow.pytorch' has no attribute {name!r}")
    return getattr(importlib.import_module(_LIGHTNING), name)


def _signature(model: nn.Module, example: Any) -> Any:
    """Return what a model takes and gives: columns by name, or arrays of any type.

    MLflow would refuse whole numbers where it has seen fractions, and float64 where it has seen
    float32.
    """
    import numpy as np
    import torch
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    from hpsearch.components.predictors import Predictor

    if not isinstance(model, Predictor):
        with torch.no_grad():
            return infer_signature(example, model(torch.as_tensor(example)).numpy())
    inferred = infer_signature(example, model.predict_table(example))
    inputs = Schema([TensorSpec(np.dtype("O"), (-1,))])
    if hasattr(example, "columns"):
        is_text = {column.name: column.type is DataType.string for column in inferred.inputs}
        inputs = Schema(
            [
                ColSpec(DataType.string if text else AnyType(), name)
                for name, text in is_text.items()
            ]
        )
    return ModelSignature(inputs, inferred.outputs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back MLflow's warning of pickles, and what its libraries warn of each other."""
    with quiet("mlflow.pytorch", below=logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

"""Sources of metrics that are loggers: MLflow and W&B, which write to a folder of the trial's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hpsearch.registry import register
from hpsearch.script_hooks import WANDB_LOGS
from hpsearch.training.command.epochs import ScriptReport
from hpsearch.training.command.process import Line
from hpsearch.training.command.sources import FAMILY, At, read_report


@register(FAMILY, "mlflow")
class MLflowRuns:
    """What the script logs to MLflow, which writes to a folder of the trial's meanwhile."""

    def __init__(self, files: Path, at: At = "epoch") -> None:
        self._folder = files / "mlruns"
        self._at = at
        self._read: dict[Path, int] = {}

    def environment(self) -> Mapping[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self._folder.resolve().as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
        }

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        by_step: dict[int, dict[str, float]] = {}
        without_step: dict[int, dict[str, float]] = {}
        for path in sorted(self._folder.glob("*/*/metrics/**/*")):
            if not path.is_file():
                continue
            name = path.as_posix().partition("/metrics/")[2]
            entries = [entry.split() for entry in path.read_text().splitlines()]
            for i in range(self._read.get(path, 0), len(entries)):
                _, value, step, *_ = entries[i]
                # without a step MLflow writes 0 each time
                repeats = i > 0 and step == entries[i - 1][2]
                of = (
                    without_step.setdefault(i, {})
                    if repeats
                    else by_step.setdefault(int(step), {})
                )
                of[name] = float(value)
            self._read[path] = len(entries)
        for epoch, values in sorted(by_step.items()):
            yield read_report({**values, self._at: epoch}, "MLflow's run")
        for _, values in sorted(without_step.items()):
            yield read_report(values, "MLflow's run")

    def missing(self) -> str:
        return "it logged no metrics to MLflow, at the MLFLOW_TRACKING_URI of its environment"


@register(FAMILY, "wandb")
class WandbLogs:
    """What the script logs to W&B, which writes to a folder of the trial's, offline.

    `epoch` is the name of the logged value that is the epoch; without it W&B's step counts.
    """

    def __init__(self, files: Path, epoch: str = "epoch") -> None:
        self._folder = files
        self._epoch = epoch

    def environment(self) -> Mapping[str, str]:
        # W&B's own files are buffered and read by its program alone: its `log` reports instead
        return {
            "WANDB_MODE": "offline",
            "WANDB_DIR": str(self._folder),
            "WANDB_SILENT": "true",
            "HPSEARCH_WANDB_EPOCH": self._epoch,
            "PYTHONPATH": str(WANDB_LOGS),
        }

    def read(self, lines: Sequence[Line], at_end: bool = False) -> Iterable[ScriptReport]:
        return ()

    def missing(self) -> str:
        return "it logged no metrics to W&B"

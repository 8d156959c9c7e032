"""`Trainer`: trains one configuration, epoch by epoch, in plain torch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from hpsearch.components.data import Data
from hpsearch.components.initializers import initialize
from hpsearch.components.models import build_model
from hpsearch.components.optimizers import build_optimizer
from hpsearch.components.tasks import task_for
from hpsearch.errors import BadConfigurationError, DivergedError, UserCodeError
from hpsearch.spec import TrialConfig
from hpsearch.training.batches import Batches, batch_sizes, batches_of
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.seeds import derive_seed

#: rows of a batch when nothing is learned from it: more leave the caches of a CPU
EVAL_BATCH_SIZE = 256
#: steps of an epoch, evenly spaced, at which the norm of the gradient is taken
GRAD_NORM_SAMPLES = 16
#: steps between two looks at the loss
FLUSH_STEPS = 64


class Trainer:
    """Trains the model of a configuration on data, on a device.

    `epoch` counts the epochs trained. All randomness comes from the configuration's seed and
    number, the purpose and the epoch, so a trainer that loads a state goes on as the one that
    gave it, bit for bit. torch's global generator is reseeded each epoch. `stream` sets apart
    trainers of one trial, such as those of cross validation.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: Data,
        device: str | torch.device = "cpu",
        *,
        stream: str = "",
    ) -> None:
        self.config, self.data, self.device = config, data, torch.device(device)
        self.epoch = 0
        self.task = task_for(data, config.values.get("task"))
        self._stream = stream
        self._batch_size = _checked_batch_size(config.values["batch_size"], data)
        self._gradient_clip: float | None = config.values.get("gradient_clip")
        self.model = self._build_model()
        self._params = [p for p in self.model.parameters() if p.requires_grad]
        self._forward = self._compile() if config.compile else self.model

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; made when first needed, since the first one of a process takes seconds
        (torch imports its compiler), and a model that is only evaluated needs none."""
        return build_optimizer(
            self.config.values["optimizer"], self._params, Path(self.config.folder)
        )

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch, then evaluate; returns the metrics that `epoch_metrics` names.

        Training metrics are means over the epoch's batches as they were trained on.
        `grad_norm` is the mean of the gradient's norm, before clipping, at up to 16 evenly
        spaced steps; `seconds` is the time of training and evaluation. Raises DivergedError at
        the first loss that is not finite.
        """
        start = time.perf_counter()
        self.epoch += 1
        with flushed_denormals():
            metrics, grad_norm = self._train()
        if self.data.val is not None:
            metrics |= self.evaluate("val")
        metrics["lr"] = float(self.optimizer.param_groups[0]["lr"])
        metrics["grad_norm"] = grad_norm
        metrics["seconds"] = time.perf_counter() - start
        return metrics

    def evaluate(self, split: Literal["train", "val", "test"]) -> dict[str, float]:
        """Return the metrics on a split, named `val_loss` and so on."""
        batches = self._batches(split)
        totals = _Totals(self, split, len(batches))
        self.model.eval()
        with torch.inference_mode(), self._autocast():
            for x, y in batches.read(EVAL_BATCH_SIZE):
                totals.add(self._forward(x), y)
        return totals.summary()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy, in the CPU's memory, of all that training changes.

        Hyperparameters are no part of it: they are the configuration's.
        """
        return {
            "epoch": self.epoch,
            "model": _copied(self.model.state_dict()),
            "optimizer": _copied(self.optimizer.state_dict()["state"]),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        groups = self.optimizer.state_dict()["param_groups"]
        # The optimizer would keep the tensors it is given.
        optimizer = {"state": _copied(state["optimizer"]), "param_groups": groups}
        self.optimizer.load_state_dict(optimizer)

    def _train(self) -> tuple[dict[str, float], float]:
        batches = self._batches("train")
        num_steps = len(batch_sizes(len(batches), self._batch_size))
        stride = math.ceil(num_steps / GRAD_NORM_SAMPLES)
        shuffle = torch.Generator().manual_seed(self._seed("shuffle"))
        order = torch.randperm(len(batches), generator=shuffle)
        torch.manual_seed(self._seed("epoch"))
        totals, norms = _Totals(self, "train", len(batches)), []
        self.model.train()
        for step, (x, y) in enumerate(batches.read(self._batch_size, order)):
            for param in self._params:
                param.grad = None
            with self._autocast():
                outputs = self._forward(x)
            loss = self.task.loss(outputs.float(), y)
            torch.autograd.backward(loss)
            norm = self._clip_gradient(measure=step % stride == 0)
            if norm is not None:
                norms.append(norm)
            self.optimizer.step()
            totals.add(outputs.detach(), y)
        return totals.summary(), torch.stack(norms).mean().item()

    def _clip_gradient(self, *, measure: bool) -> Tensor | None:
        """Clip if the configuration says so; returns the norm before that, if asked for."""
        if self._gradient_clip is None and not measure:
            return None
        grads = [param.grad for param in self._params if param.grad is not None]
        norm = get_total_norm(grads)
        if self._gradient_clip is not None:
            clip_grads_with_norm_(self._params, self._gradient_clip, norm)
        return norm if measure else None

    def _build_model(self) -> nn.Module:
        values, folder = self.config.values, Path(self.config.folder)
        torch.manual_seed(self._seed("model"))
        model = build_model(values["model"], self.data.input_shape, self.data.output_size, folder)
        self._check_outputs(model)
        torch.manual_seed(self._seed("initializer"))
        initialize(model, values.get("initializer") or {"name": "torch_default"}, folder)
        return model.to(self.device)

    def _compile(self) -> Callable[[Tensor], Tensor]:
        # Programs of earlier trials count towards a limit, after which nothing more is compiled.
        torch.compiler.reset()
        return torch.compile(self.model)

    def _check_outputs(self, model: nn.Module) -> None:
        x = torch.zeros(2, *self.data.input_shape)
        with torch.no_grad():
            outputs = model.eval()(x)
        expected = (2, self.data.output_size)
        shape = tuple(getattr(outputs, "shape", ()))
        if shape != expected:
            raise UserCodeError(
                f"model.name: {self.config.values['model']['name']} must give outputs of the "
                f"shape {expected} for two examples, but got {shape or type(outputs).__name__}"
            )

    def _batches(self, split: str) -> Batches:
        examples = getattr(self.data, split)
        if examples is None:
            raise ValueError(f"the data has no {split} split")
        return batches_of(examples, self.device)

    def _seed(self, purpose: str) -> int:
        config = self.config
        return derive_seed(config.seed, config.number, self._stream + purpose, self.epoch)

    def _autocast(self) -> contextlib.AbstractContextManager[None]:
        if self.config.precision == "fp32":
            return _NO_AUTOCAST
        return torch.autocast(self.device.type, torch.bfloat16)


class _Totals:
    """Adds up a task's totals over the batches of an epoch, a group of batches at a time.

    So that a step costs no more than keeping its outputs, and the loss is looked at (which
    waits for a GPU) a few times an epoch.
    """

    def __init__(self, trainer: Trainer, split: str, num_rows: int) -> None:
        self._task, self._epoch = trainer.task, trainer.epoch
        self._split, self._num_rows = split, num_rows
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._totals: list[float] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        self._batches.append((outputs, targets))
        if len(self._batches) == FLUSH_STEPS:
            self._flush()

    def summary(self) -> dict[str, float]:
        """Return the metrics, named by the split."""
        if self._batches:
            self._flush()
        metrics = self._task.summary(self._totals, self._num_rows)
        return {f"{self._split}_{name}": value for name, value in metrics.items()}

    def _flush(self) -> None:
        outputs, targets = (torch.cat(part) for part in zip(*self._batches, strict=True))
        totals = self._task.totals(outputs.float(), targets).tolist()
        if not all(map(math.isfinite, totals)):
            raise DivergedError(
                f"epoch {self._epoch}: {self._split}_loss must be finite, but got {totals[0]}"
            )
        before = self._totals or [0.0] * len(totals)
        self._totals = [sum(pair) for pair in zip(before, totals, strict=True)]
        self._batches.clear()


_NO_AUTOCAST = contextlib.nullcontext()


def _checked_batch_size(batch_size: int, data: Data) -> int:
    if not 1 <= batch_size <= data.num_train_rows:
        raise BadConfigurationError(
            f"batch_size: must be at least 1 and at most the {data.num_train_rows} training "
            f"rows, but got {batch_size}"
        )
    return batch_size


def _copied(value: Any) -> Any:
    """Copy the tensors in nested mappings and lists into the CPU's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(child) for child in value)
    return value

"""`Trainer`: trains one configuration, epoch by epoch, in plain torch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hpsearch.components.calibration import Calibration
from hpsearch.components.callbacks import Callback
from hpsearch.components.data import Data
from hpsearch.components.initializers import initialize
from hpsearch.components.models import build_model, check_batch_size
from hpsearch.components.optimizers import build_optimizer
from hpsearch.components.tasks import epoch_metrics, task_for
from hpsearch.errors import UserCodeError
from hpsearch.spec import COMPONENT_SECTIONS, TrialConfig
from hpsearch.training.batches import Batches, LastBatch, batch_sizes, batches_of, epoch_order
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.groups import (
    load_optimizer_state,
    optimizer_state,
    parameter_groups,
)
from hpsearch.training.pacing import Pace
from hpsearch.training.seeds import derive_seed
from hpsearch.training.totals import Totals
from hpsearch.training.update import Update

#: rows of a batch when nothing is learned from it: more leave the caches of a CPU
EVAL_BATCH_SIZE = 256
#: steps of an epoch, evenly spaced, at which the norm of the gradient is taken
GRAD_NORM_SAMPLES = 16


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
        self.task = task_for(data, config.values.get("task"), Path(config.folder))
        self.task.criterion.to(self.device)
        self._stream = stream
        self._pace = Pace(config, data.num_train_rows, self._num_steps)
        self.model = self._build_model()
        self._tuning = self._build("finetune", model=self.model)
        self._augmentations = self._build_all(
            "augmentations",
            input_shape=data.input_shape,
            output_size=data.output_size,
            kind=data.kind,
        )
        self._callbacks: list[Callback] = self._build_all(
            "callbacks", metrics=epoch_metrics(self.task)
        )
        #: what corrects the probabilities once training is over; not fitted
        self.calibration: Calibration | None = self._build("calibration", kind=data.kind)
        self._is_over = False
        self._forward = self._compile() if config.compile else self.model

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; made when first needed, since the first one of a process takes seconds
        (torch imports its compiler), and a model that is only evaluated needs none."""
        groups = parameter_groups(self.model, self.task, self._tuning)
        return build_optimizer(self.config.values["optimizer"], groups, Path(self.config.folder))

    def train_epoch(self) -> dict[str, float] | None:
        """Train one epoch, then evaluate; returns the metrics that `epoch_metrics` names.

        None, without training, if a callback ended the training before. Training metrics are
        means over the epoch's batches as they were trained on. `grad_norm` is the mean of the
        gradient's norm, before clipping, at up to 16 evenly spaced steps; `seconds` is the time
        of training and evaluation. Raises DivergedError at the first loss that is not finite.
        """
        if self._is_over:
            return None
        start = time.perf_counter()
        self.epoch += 1
        with flushed_denormals():
            metrics, grad_norm = self._train()
        for callback in self._callbacks:
            callback.before_evaluation(self.model, self._read_train)
        metrics |= self._evaluate_val()
        metrics["lr"] = float(self.optimizer.param_groups[0]["lr"])
        metrics["grad_norm"] = grad_norm
        metrics |= self._call_back(metrics)
        self._pace.observe(metrics)
        metrics["seconds"] = time.perf_counter() - start
        return metrics

    def evaluate(self, split: Literal["train", "val", "test"]) -> dict[str, float]:
        """Return the metrics on a split, named `val_loss` and so on."""
        totals = self._evaluate(split, keep=bool(self.task.scores))
        scores = self.task.measure(*totals.rows()) if self.task.scores else {}
        return totals.summary() | {f"{split}_{name}": value for name, value in scores.items()}

    def predict(self, split: Literal["train", "val", "test"]) -> tuple[Tensor, Tensor]:
        """Return the outputs for a split, float32 (rows, output_size), and its targets."""
        outputs, targets = self._evaluate(split, keep=True).rows()
        return outputs.clone(), targets  # a tensor of inference mode has no gradients

    def state_dict(self) -> dict[str, Any]:
        """Return a copy, in the CPU's memory, of all that training changes.

        Hyperparameters are no part of it: they are the configuration's.
        """
        return {
            "epoch": self.epoch,
            "model": _copied(self.model.state_dict()),
            "optimizer": _copied(optimizer_state(self.optimizer)),
            "criterion": _copied(self.task.criterion.state_dict()),
            "pace": _copied(self._pace.state_dict()),
            "callbacks": [_copied(callback.state_dict()) for callback in self._callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.epoch = state["epoch"]
        self.model.load_state_dict(state["model"])
        # The optimizer keeps the tensors it is given.
        load_optimizer_state(self.optimizer, _copied(state["optimizer"]))
        self.task.criterion.load_state_dict(state["criterion"])
        self._pace.load_state_dict(state["pace"])
        for callback, kept in zip(self._callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(kept)
        self._is_over = any(callback.is_over for callback in self._callbacks)

    def _evaluate(self, split: str, keep: bool) -> Totals:
        totals = Totals(self.task, self.epoch, split, keep=keep)
        batches = self._batches(split)
        self.model.eval()
        with torch.inference_mode(), self._autocast():
            for x, y in batches.read(EVAL_BATCH_SIZE):
                totals.add(self._forward(x), y)
        return totals

    def _train(self) -> tuple[dict[str, float], float]:
        batches, batch_size = self._batches("train"), self._pace.batch_size(self.epoch)
        order = self._order(len(batches), batch_size)
        num_steps = len(batch_sizes(len(order), batch_size))
        stride = math.ceil(num_steps / GRAD_NORM_SAMPLES)
        torch.manual_seed(self._seed("epoch"))
        if self._tuning is not None:
            self._tuning.begin_epoch(self.epoch)
        self._pace.begin_epoch(self.optimizer, self.epoch)
        first_step = self._pace.first_step(self.epoch)
        totals, norms = Totals(self.task, self.epoch, "train"), []
        self.model.train()
        if self._tuning is not None:
            self._tuning.set_modes()
        for step, (x, y) in enumerate(batches.read(batch_size, order)):
            if step and self._pace.changes_within_epochs:
                self._pace.begin_step(self.optimizer, self.epoch, step)
            for augment in self._augmentations:
                x, y = augment(x, y)
            measure = step % stride == 0
            outputs, norm = self._update(x, y, step=first_step + step, measure=measure)
            if norm is not None:
                norms.append(norm)
            totals.add(outputs, y)
        return totals.summary(), torch.stack(norms).mean().item()

    @cached_property
    def _update(self) -> Update:
        return Update(
            model=self.model,
            forward=self._forward,
            loss=self.task.loss,
            optimizer=self.optimizer,
            autocast=self._autocast,
            penalties=self._build_all("regularizers", model=self.model),
            clip=self._build("gradient_clip"),
            noise=self._build("gradient_noise"),
            projections=self._build_all("constraints", model=self.model),
        )

    def _order(self, num_rows: int, batch_size: int) -> Tensor:
        shuffle = torch.Generator().manual_seed(self._seed("shuffle"))
        orders = [
            epoch_order(num_rows, batch_size, self._last_batch, shuffle)
            for _ in range(self._pace.passes(self.epoch))
        ]
        return torch.cat(orders)

    def _num_steps(self, batch_size: int, passes: int) -> int:
        rows = self.data.num_train_rows
        if self._last_batch == "keep":
            return len(batch_sizes(rows * passes, batch_size))
        full, rest = divmod(rows, batch_size)
        return passes * (full + (rest > 0 and self._last_batch != "drop"))

    @property
    def _last_batch(self) -> LastBatch:
        return self.config.values.get("last_batch") or "keep"

    def _read_train(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self._batches("train").read(self._pace.batch_size(self.epoch))

    def _evaluate_val(self) -> dict[str, float]:
        return self.evaluate("val") if self.data.val is not None else {}

    def _call_back(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Tell the callbacks of an epoch; returns the metrics anew where weights were changed."""
        is_last = self.epoch >= self.config.max_epochs
        changed = [
            callback.after_epoch(self.model, metrics, is_last=is_last)
            for callback in self._callbacks
        ]
        self._is_over = any(callback.is_over for callback in self._callbacks)
        return self._evaluate_val() if any(changed) else {}

    def _build_model(self) -> nn.Module:
        values, folder = self.config.values, Path(self.config.folder)
        torch.manual_seed(self._seed("model"))
        model = build_model(values["model"], self.data.input_shape, self.data.output_size, folder)
        self._check_outputs(model)
        torch.manual_seed(self._seed("initializer"))
        check_batch_size(model, self._pace.batch_size(1))
        section = values.get("initializer") or {"name": "torch_default"}
        initialize(model, section, folder, self.data.class_counts)
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

    def _build(self, section: str, **offered: Any) -> Any:
        """Build the component of a section; None where the configuration has none."""
        value = self.config.values.get(section)
        if value is None:
            return None
        return COMPONENT_SECTIONS[section].build(value, Path(self.config.folder), **offered)

    def _build_all(self, section: str, **offered: Any) -> list[Any]:
        """Build the components of a section that lists them."""
        of, folder = COMPONENT_SECTIONS[section], Path(self.config.folder)
        values = self.config.values.get(section) or []
        return [of.build(value, folder, **offered) for value in values]

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


_NO_AUTOCAST = contextlib.nullcontext()


def _copied(value: Any) -> Any:
    """Copy the tensors in nested mappings and lists into the CPU's memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(child) for child in value)
    return value

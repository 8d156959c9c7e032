"""`Trainer`: trains one configuration, epoch by epoch, in plain torch."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hpsearch.components.batch import Batch, Tree, map_tree
from hpsearch.components.calibration import Calibration
from hpsearch.components.callbacks import callback_metrics
from hpsearch.components.data import Data
from hpsearch.components.finetuning import Subset
from hpsearch.components.initializers.from_data import initialize_from_data
from hpsearch.components.optimizers import hold_iterate
from hpsearch.components.tasks import epoch_metrics
from hpsearch.components.train_evaluation import TRAIN_EVAL, TrainEvaluation
from hpsearch.errors import placed
from hpsearch.spec import TrialConfig
from hpsearch.spec.objectives import LATENCY
from hpsearch.training.augmenting import Augmenting
from hpsearch.training.batches import batch_sizes
from hpsearch.training.building import (
    build,
    build_all,
    draw_weights,
    new_model,
    new_optimizer,
    new_task,
)
from hpsearch.training.callbacks import Callbacks
from hpsearch.training.checkpoints import copied_to_cpu
from hpsearch.training.denormals import flushed_denormals
from hpsearch.training.dropout_keys import DropoutKeys
from hpsearch.training.evaluation import Evaluation
from hpsearch.training.forgetting import ForgettingMeter
from hpsearch.training.gradient_noise import GradientNoise
from hpsearch.training.groups import load_optimizer_state, optimizer_state, parameter_groups
from hpsearch.training.measurements import Measurements
from hpsearch.training.pacing import TrainingSchedule
from hpsearch.training.refusals import (
    check_accumulate,
    check_batches,
    check_ensemble,
    check_norms,
    check_one_tensor,
    check_optimizer,
)
from hpsearch.training.rows import training_rows
from hpsearch.training.seeds import RandomStates, derive_seed, keeps_random_states, seed_all
from hpsearch.training.snapshots import SnapshotEnsemble
from hpsearch.training.splits import Splits
from hpsearch.training.streams import keeping_states
from hpsearch.training.totals import Totals
from hpsearch.training.update import Update
from hpsearch.training.weight_average import WeightAverage

SplitName = Literal["train", "rest", "val", "test"]
#: steps of an epoch, evenly spaced, at which the norm of the gradient is taken
GRAD_NORM_SAMPLES = 16


@dataclass(frozen=True)
class EpochPlan:
    """The steps of an epoch: which rows, in batches of which sizes.

    `order` is int64 (rows,), `keys` those of the dropout masks, int32 (steps, dropouts).
    `random_states` are those that augmentations draw from, where others draw in between.
    """

    order: Tensor
    batch_size: int
    sizes: list[int]
    keys: Tensor
    random_states: RandomStates | None = None

    @property
    def stride(self) -> int:
        """Steps from one at which the gradient's norm is taken to the next."""
        return math.ceil(len(self.sizes) / GRAD_NORM_SAMPLES)


class Trainer:
    """Trains the model of a configuration on data, on a device.

    `epoch` counts the epochs trained. All randomness comes from the configuration's seed and
    number, the purpose and the epoch, so a trainer that loads a state continues as the one that
    gave it, bit for bit. torch's global generator is seeded for that, and put back. `stream`
    sets apart trainers of one trial, such as those of cross validation.
    """

    @keeps_random_states
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
        self.task = new_task(config, data)
        self.task.criterion.to(self.device)
        self._stream = stream
        seed_all(self._seed("model"))
        self.model = new_model(config, data, self.task)
        self._tuning = build(config, "finetune", model=self.model)  # it may replace the head
        torch.manual_seed(self._seed("initializer"))
        draw_weights(self.model, config, data, self.task)
        self.model.to(self.device)
        subset: Subset | None = getattr(self._tuning, "subset", None)
        self._rows = training_rows(config, data, self.task, subset, self._subset_seed)
        with placed("finetune"):
            self._forgetting = ForgettingMeter(self.task, subset.metric) if subset else None
        self._pace = TrainingSchedule(
            config, len(self._rows), self._rows.num_steps, self._rows.largest_batch
        )
        self._accumulate: int = config.values.get("accumulate") or 1
        check_accumulate(self._accumulate, self.task)
        check_batches(self.model, self._rows, self._pace.batch_size(1))
        parts = {"train": self._rows.trained, "rest": self._rows.rest}
        self.splits = Splits(data, self.device, config.loader, parts, self._seed)
        by_itself = "for latency_ms" if LATENCY in config.measured else ""
        check_norms(self.model, data, self._first_row, one=by_itself)
        initialize_from_data(self.model, self._first_inputs)
        self.augmenting = Augmenting(config, data)
        sections, folder = config.values.get("callbacks"), Path(config.folder)
        measured = callback_metrics(sections, folder, self.model)
        #: the names of all that an epoch reports
        self.reported = epoch_metrics(self.task, has_rest=subset is not None, measured=measured)
        self._callbacks = Callbacks(config, self.reported)
        self._callbacks.check_data(data)
        if self._callbacks.train_evaluation is not None:
            self.splits.parts[TRAIN_EVAL] = self._train_eval_rows(self._callbacks.train_evaluation)
        self._measurements = Measurements(config.measured, self.device)
        #: what corrects the probabilities once training is over; not fitted
        self.calibration: Calibration | None = build(config, "calibration", kind=data.kind)
        self._penalties = build_all(config, "regularizers", model=self.model)
        self._projections = build_all(config, "weight_constraints", model=self.model)
        is_half = config.precision == "fp16"
        self._scaler = torch.amp.GradScaler(self.device.type) if is_half else None
        averaging = build(config, "weight_averaging")
        params = list(self.model.parameters())
        self._average = averaging and WeightAverage(averaging, params, config.max_epochs)
        snapshots = build(config, "ensemble")
        if snapshots is not None:
            check_ensemble(self.model, self.task, self._first_row())
        #: the members of an ensemble that the model has passed through
        self.snapshots = snapshots and SnapshotEnsemble(
            snapshots, self.model, self.task.head, config.max_epochs
        )
        self._keys = DropoutKeys(self.model)
        self._forward = self._compile() if config.compile else self.model

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer; made when first needed, since the first one of a process takes seconds
        (torch imports its compiler), and a model that is only evaluated needs none."""
        groups = parameter_groups(self.model, self.task, self._tuning)
        made = new_optimizer(self.config, groups)
        check_optimizer(made, self.config, self._rows)
        return made

    def try_optimizer(self, *, always: bool = False) -> None:
        """Build the optimizer, by default only where more is asked of it than each can do.

        Raises what the first epoch would: BadConfigurationError where a schedule sets a momentum
        that it has not, or parts of the model have rates of their own and it can't.
        """
        groups = parameter_groups(self.model, self.task, self._tuning)
        has_own_rates = any(group.keys() != {"params"} for group in groups)
        if always or self._pace.sets_momentum or has_own_rates:
            self._pace.begin_epoch(self.optimizer, self.epoch + 1)

    @property
    def end_reason(self) -> str:
        """See EpochTrainer: `callback early_stopping`."""
        return self._callbacks.end_reason

    @property
    def trainers(self) -> tuple[Trainer, ...]:
        """See ModelTrainer."""
        return (self,)

    def combined(self, metrics: Sequence[dict[str, float] | None]) -> dict[str, float] | None:
        """See ModelTrainer: its own metrics."""
        return metrics[0]

    @keeps_random_states
    def train_epoch(self) -> dict[str, float] | None:
        """Train one epoch, then evaluate; returns the metrics that `epoch_metrics` names.

        None, without training, if a callback ended the training before. Training metrics are
        means over the epoch's batches as they were trained on. `grad_norm` is the mean of the
        gradient's norm, before clipping, at up to 16 evenly spaced steps; `seconds` is the time
        of training and evaluation. Of `MEASURED` those that the search compares are added. Raises
        DivergedError at the first loss that is not finite.
        """
        if self.is_over:
            return None
        start = time.perf_counter()
        with flushed_denormals():
            plan = self.begin_epoch()
            metrics, grad_norm = self._train(plan)
            measured = self.prepare_evaluation()
        metrics |= self.evaluation.of_epoch(self.epoch)
        metrics |= {"lr": self.lr, "grad_norm": grad_norm, **measured}
        metrics = self.end_epoch(metrics)
        metrics["seconds"] = time.perf_counter() - start
        return metrics

    @property
    def is_over(self) -> bool:
        """Whether a callback has ended the training."""
        return self._callbacks.is_over

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def begin_epoch(self) -> EpochPlan:
        """Begin the next epoch, whose steps are to be taken as the plan says."""
        if self._forgetting is not None and self._forgetting.before is None:
            self._forgetting.begin(self.evaluate("rest"))
        self.epoch += 1
        batch_size, order = self._pace.batch_size(self.epoch), self._order(self.epoch)
        sizes = batch_sizes(len(order), batch_size)
        seed_all(self._seed("epoch"))
        if self._tuning is not None:
            self._tuning.begin_epoch(self.epoch)
        if (begin_epoch := getattr(self.task, "begin_epoch", None)) is not None:
            begin_epoch(self.epoch)
        self._pace.begin_epoch(self.optimizer, self.epoch)
        keys = self._keys.begin_epoch(self.epoch, self._seed("dropout"), len(sizes))
        first_step = self._pace.first_step(self.epoch)
        if self._noise is not None:
            self._noise.begin_epoch(self._seed("gradient noise"), first_step, len(sizes))
        if self.snapshots is not None:
            self.snapshots.begin_epoch(self.epoch)
        if self._average is not None:
            self._average.begin_epoch(self.epoch)
        hold_iterate(self.optimizer)
        self.model.train()
        if self._tuning is not None:
            self._tuning.set_modes()
        return EpochPlan(order, batch_size, sizes, keys)

    @property
    def changes_within_epochs(self) -> bool:
        """Whether `begin_step` sets other rates after an epoch's first step."""
        return self._pace.changes_within_epochs

    def begin_step(self, step: int) -> None:
        """Set learning rate, momentum, keys and noise for a step of the epoch, counted from 0."""
        if step and self.changes_within_epochs:
            self._pace.begin_step(self.optimizer, self.epoch, step)
        self._keys.begin_step(step)
        if self._noise is not None:
            self._noise.begin_step(step)

    def prepare_evaluation(self) -> dict[str, float]:
        """Let the model hold what is evaluated; returns what callbacks measured before."""
        self._keys.end_epoch()
        seed_all(self._seed("evaluation"))
        measured = self._measure()
        self.update.end_epoch()
        self._callbacks.before_evaluation(self.model, self._read_train)
        return measured | self._probe()

    def end_epoch(self, metrics: dict[str, float]) -> dict[str, float]:
        """End an epoch with its metrics; returns them, new ones where callbacks change weights,
        and what is measured of the trial."""
        seed_all(self._seed("end of epoch"))
        metrics |= self._callbacks.derived(metrics)
        metrics |= self._call_back(metrics)
        self._pace.observe(metrics)
        return metrics | self._measurements.take(self.model, self._first_row)

    def evaluate(self, split: SplitName) -> dict[str, float]:
        """Return the metrics on a split, named `val_loss` and so on.

        Of the training split, `train` are the rows that are trained on and `rest` those that
        fine-tuning on a subset leaves out.
        """
        return self.evaluation.metrics(split, self.epoch)

    def predict(self, split: SplitName) -> tuple[Tensor, Tensor]:
        """Return the outputs for a split, float32 (rows, output_size), and its targets."""
        return self.evaluation.outputs(split, self.epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy, in the CPU's memory, of all that training changes.

        Hyperparameters are no part of it: they are the configuration's.
        """
        return {
            "epoch": self.epoch,
            "model": copied_to_cpu(self.model.state_dict()),
            "optimizer": copied_to_cpu(optimizer_state(self.optimizer)),
            "criterion": copied_to_cpu(self.task.criterion.state_dict()),
            "pace": copied_to_cpu(self._pace.state_dict()),
            "scaler": self._scaler.state_dict() if self._scaler is not None else None,
            "average": None if self._average is None else self._average.state_dict(),
            "snapshots": None if self.snapshots is None else self.snapshots.state_dict(),
            "callbacks": self._callbacks.state_dict(),
            "score_before": self._forgetting.before if self._forgetting is not None else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave, of this trial or of that which it copies."""
        self.epoch = state["epoch"]
        self.load_weights(state)
        # The optimizer keeps the tensors it is given.
        load_optimizer_state(
            self.optimizer,
            copied_to_cpu(state["optimizer"]),
            is_others=0 < self.epoch == self.config.copied_epochs,
        )
        self._pace.load_state_dict(state["pace"])
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        if self._average is not None and state.get("average") is not None:
            self._average.load_state_dict(state["average"])
        self._callbacks.load_state_dict(state["callbacks"])
        if self._forgetting is not None:
            self._forgetting.before = state["score_before"]

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """See ModelTrainer."""
        if self.snapshots is not None:
            self.snapshots.load_state_dict(state.get("snapshots") or [])
        self.model.load_state_dict(state["model"])
        self.task.criterion.load_state_dict(state["criterion"])

    def final(self) -> Trainer:
        """See ModelTrainer: the trainer itself."""
        return self

    def check_averaged(self) -> None:
        """Refuse a model whose outputs and those of other trials have no mean."""
        check_one_tensor(self.model, self._first_row())

    def model_copy(self) -> nn.Module:
        """Return a copy of what is evaluated: of an ensemble's members as one model."""
        return copy.deepcopy(self.model) if self.snapshots is None else self.snapshots.module()

    def stand_for(self, model: nn.Module) -> None:
        """Evaluate and export another model, whose outputs mean the same, from now on; what trains
        belongs to the model before."""
        self.model = self._forward = model
        self.snapshots = None
        self.__dict__.pop("evaluation", None)

    def close(self) -> None:
        """End the processes that read Datasets."""
        self.splits.close()

    def _train(self, plan: EpochPlan) -> tuple[dict[str, float], float]:
        totals, norms = Totals(self.task, self.epoch, "train"), []
        with keeping_states(self.model, keeps=self._rows.in_streams) as forget_states:
            for step, batch in enumerate(self.training_batches(plan)):
                if self._rows.begins_anew(step, plan.batch_size):
                    forget_states()
                measure = step % plan.stride == 0
                outputs, norm = self.update(batch, measure=measure)
                if norm is not None:
                    norms.append(norm)
                totals.add(outputs, batch)
        # none where each of these gradients has overflowed in half precision
        return totals.summary(), torch.stack(norms).mean().item() if norms else 0.0

    def training_batches(self, plan: EpochPlan) -> Iterator[Batch]:
        """Yield the batches of an epoch as they are trained on, each with its step begun."""
        transforms = self.augmenting.transforms
        drawn = self.splits.drawn(plan.order, plan.batch_size, self.epoch, transforms=transforms)
        for step, batch in enumerate(drawn):
            self.begin_step(step)
            yield self.augmenting(batch)

    @cached_property
    def evaluation(self) -> Evaluation:
        """What evaluates the model."""
        return Evaluation(
            model=self.model,
            forward=self._evaluated_forward,
            task=self.task,
            data=self.data,
            splits=self.splits,
            augmenting=self.augmenting,
            forgetting=self._forgetting,
            autocast=self.autocast,
            views_seed=self._seed("views", 0),
            in_streams=self._rows.in_streams,
        )

    def _evaluated_forward(self, inputs: Tree) -> Tree:
        if self.snapshots is None:
            return self._forward(inputs)
        return self.snapshots.outputs(self._forward, inputs)

    @cached_property
    def update(self) -> Update:
        """What takes a step."""
        return Update(
            model=self.model,
            forward=self._forward,
            loss=self.task.loss,
            optimizer=self.optimizer,
            autocast=self.autocast,
            penalties=self._penalties,
            clip=build(self.config, "gradient_clip"),
            noise=self._noise,
            projections=self._projections,
            keys=self._keys,
            accumulate=self._accumulate,
            count=self.task.count,
            scaler=self._scaler,
            average=self._average,
        )

    @cached_property
    def _noise(self) -> GradientNoise | None:
        deviation = build(self.config, "gradient_noise")
        params = [param for group in self.optimizer.param_groups for param in group["params"]]
        return None if deviation is None else GradientNoise(deviation, params)

    def _measure(self) -> dict[str, float]:
        loss = self.task.loss
        return self._callbacks.measure(self.model, loss, self._drawn_batches, self.device)

    def _probe(self) -> dict[str, float]:
        if self.data.val is None:
            return {}
        self.model.eval()
        return self._callbacks.probe(self.model, partial(self.splits.evaluated, epoch=self.epoch))

    def _drawn_batches(self) -> Iterator[Batch]:
        """Yield batches of the epoch's size, or of half the rows where that gives only one."""
        size = min(self._pace.batch_size(self.epoch), max(2, len(self._rows) // 2))
        generator = torch.Generator().manual_seed(self._seed("measure"))
        order = self._rows.order(size, 1, generator)
        transforms = self.augmenting.transforms
        for batch in self.splits.drawn(order, size, self.epoch, "measure", transforms):
            if len(batch) == size:
                yield self.augmenting(batch)

    def _order(self, epoch: int) -> Tensor:
        shuffle = torch.Generator().manual_seed(self._seed("shuffle", epoch))
        return self._rows.order(self._pace.batch_size(epoch), self._pace.passes(epoch), shuffle)

    def _first_inputs(self) -> Tree:
        batch_size = self._pace.batch_size(1)
        order = self._order(1)[:batch_size]
        return next(self.splits.drawn(order, batch_size, self.epoch, "first")).inputs

    def _first_row(self) -> Tree:
        return map_tree(lambda leaf: leaf[:1], self._first_inputs())

    def _read_train(self) -> Iterator[Batch]:
        return self.splits.read("train", self._pace.batch_size(self.epoch), self.epoch)

    def _train_eval_rows(self, of: TrainEvaluation) -> Tensor | None:
        """Return the training rows that are evaluated: the same ones in all trials."""
        among = len(self._rows) if self._rows.trained is None else self._rows.trained
        return of.drawn(among, derive_seed(self.config.seed, 0, self._stream + TRAIN_EVAL))

    def _call_back(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Run the callbacks after an epoch; returns new metrics where weights were changed."""
        is_last = self.epoch >= self.config.max_epochs
        changed = self._callbacks.after_epoch(self.model, metrics, is_last=is_last)
        return self.evaluation.of_epoch(self.epoch) if changed else {}

    def _compile(self) -> Callable[[Tree], Tree]:
        # Programs of earlier trials count towards a limit, after which nothing more is compiled.
        torch.compiler.reset()
        return torch.compile(self.model)

    @property
    def _subset_seed(self) -> int:
        """All trials are fine-tuned on the same rows: they compete."""
        return derive_seed(self.config.seed, 0, self._stream + "subset")

    def _seed(self, purpose: str, epoch: int | None = None) -> int:
        config, epoch = self.config, self.epoch if epoch is None else epoch
        return derive_seed(config.seed, config.stream, self._stream + purpose, epoch)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Return the context of the model's forward pass, as the precision has it."""
        if self.config.precision == "fp32":
            return _NO_AUTOCAST
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.config.precision]
        return torch.autocast(self.device.type, dtype)


_NO_AUTOCAST = contextlib.nullcontext()

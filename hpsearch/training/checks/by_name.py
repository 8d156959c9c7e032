"""Checks by name: what is tried on a trial before it costs much.

A check gets a trainer that hasn't trained yet, and leaves it as it was. It returns what it found,
or None where it has nothing to say of such a trial.
"""

from __future__ import annotations

import copy
import itertools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from hpsearch import registry
from hpsearch.components.batch import Batch, Tree, map_tree
from hpsearch.components.examples import Arrays, Split
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.registry import ComponentOf, register
from hpsearch.training.batches import batches_of
from hpsearch.training.checks.signals import signals_of
from hpsearch.training.protocol import ModelTrainer
from hpsearch.training.trainer import Trainer

#: rows that a check looks at
ROWS = 256
#: an untrained net's loss is within this part of the logarithm of the number of classes
INITIAL_LOSS_TOLERANCE = 0.2
#: overfit_tiny_batch: rows, steps, learning rate of Adam, the score to reach
TINY_ROWS, TINY_STEPS, TINY_LR, TINY_SCORE = 20, 300, 0.01, 0.99
#: batch_invariance: difference of outputs, relative to their spread
INVARIANCE = 1e-4
#: signal_propagation: by so many times a signal may shrink or grow on its way
SIGNAL_FACTOR = 10.0


@dataclass(frozen=True)
class Finding:
    """What a check found; an `error` that isn't ok ends the trial as a bad configuration."""

    check: str
    ok: bool
    message: str
    severity: Literal["warning", "error"] = "warning"

    def __str__(self) -> str:
        """`symmetry: error: …`."""
        return f"{self.check}: {'ok' if self.ok else self.severity}: {self.message}"


def run_checks(trainer: Trainer, sections: list[Any] | None = None) -> list[Finding]:
    """Run checks on a trainer that hasn't trained yet; by default every registered one."""
    wanted = registry.names("check") if sections is None else sections
    found = []
    for section in wanted:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            finding: Finding | None = ComponentOf("check").build(section, trainer=trainer)
        if finding is not None:
            found.append(finding)
    return found


def check_trial(trainer: ModelTrainer, sections: list[Any]) -> list[Finding]:
    """Run a trial's checks: returns and logs the warnings, raises BadConfigurationError for an
    error.

    Of a cross validation the first fold stands for all.
    """
    first = trainer.trainers[0]
    warnings = []
    for finding in run_checks(first, sections):
        if not finding.ok and finding.severity == "error":
            with placed("checks"):
                raise BadConfigurationError(finding.message, keyword=finding.check)
        if not finding.ok:
            _log.warning("trial %d: %s", first.config.number, finding)
            warnings.append(finding)
    return warnings


@register("check", "loss_at_init")
def loss_at_init(trainer: Trainer) -> Finding | None:
    """The first loss is within 20 % of ln C, as that of a uniform guess (CS231n)."""
    counts = trainer.data.class_counts
    if not counts:
        return None
    x, y = first_rows(trainer)
    with torch.no_grad():
        outputs = _outputs(trainer, x)
        if len(trainer.data.output_shape) == 2:  # classes of steps, which are last
            outputs = outputs.movedim(-1, 1)
        loss = F.cross_entropy(outputs, y).item()
    even = math.log(len(counts))
    frequencies = np.array([count for count in counts if count]) / sum(counts)
    prior = float(-(frequencies * np.log(frequencies)).sum())  # a head may begin with these
    low, high = prior * (1 - INITIAL_LOSS_TOLERANCE), even * (1 + INITIAL_LOSS_TOLERANCE)
    ok = low <= loss <= high
    advice = "" if ok else "; try another initializer, or standardize the inputs"
    return Finding(
        "loss_at_init", ok, f"first loss {loss:.3f}, a uniform guess has {even:.3f}{advice}"
    )


@register("check", "logits_not_probs")
def logits_not_probs(trainer: Trainer) -> Finding | None:
    """The model gives logits: outputs that are probabilities would be normalised twice."""
    if trainer.data.kind != "classification":
        return None
    x, _ = first_rows(trainer)
    with torch.no_grad():
        outputs = _outputs(trainer, x)
    sums_to_1 = (outputs.sum(1) - 1).abs().max() < 1e-4
    is_probability = bool(sums_to_1 and outputs.min() >= 0 and outputs.max() <= 1)
    message = (
        "outputs are probabilities: leave the softmax out, the loss has one"
        if is_probability
        else "outputs are logits"
    )
    return Finding("logits_not_probs", not is_probability, message, "error")


@register("check", "overfit_tiny_batch")
def overfit_tiny_batch(trainer: Trainer) -> Finding | None:
    """A copy of the model overfits 20 rows within 300 steps of Adam (CS231n)."""
    batch = first_rows(trainer).map(lambda tensor: tensor[:TINY_ROWS])
    model = copy.deepcopy(trainer.model).train()
    _switch_off_dropout(model)
    optimizer = torch.optim.Adam(model.parameters(), TINY_LR)
    for step in range(1, TINY_STEPS + 1):
        optimizer.zero_grad()
        outputs = model(batch.inputs)
        torch.autograd.backward(trainer.task.loss(outputs, batch))
        optimizer.step()
        score = _score(trainer, map_tree(torch.detach, outputs), batch)
        if score > TINY_SCORE:
            message = f"{len(batch)} rows were learned in {step} steps"
            return Finding("overfit_tiny_batch", True, message)
    message = (
        f"a score of {score:.2f} on {len(batch)} rows after {TINY_STEPS} steps: the model can't "
        "fit even these; look for a wrong loss, dead units or a missing gradient"
    )
    return Finding("overfit_tiny_batch", False, message)


@register("check", "batch_invariance")
def batch_invariance(trainer: Trainer) -> Finding | None:
    """In evaluation mode a row's outputs don't depend on the rest of its batch."""
    batch = first_rows(trainer)
    x = batch.inputs
    with torch.no_grad():
        together = _outputs(trainer, _rows(x, 0, 64))
        norms = (each for each in trainer.model.modules() if isinstance(each, _BatchNorm))
        fewest = 2 if any(norm.running_mean is None for norm in norms) else 1
        starts = range(0, min(8, len(batch)) - fewest + 1, fewest)
        parts = [_rows(x, start, fewest) for start in starts]
        if not parts:
            return None
        alone = torch.cat([_outputs(trainer, part) for part in parts])
    spread = together.std().clamp_min(1e-6)
    difference = ((together[: len(alone)] - alone).abs().max() / spread).item()
    rows = "single rows" if fewest == 1 else "pairs of rows"
    message = f"outputs of a batch and of {rows} differ by {difference:.1e} of their spread"
    return Finding("batch_invariance", difference < INVARIANCE, message)


@register("check", "eval_mode")
def eval_mode(trainer: Trainer) -> Finding | None:
    """In evaluation mode two passes over the same rows give the same outputs."""
    x, _ = first_rows(trainer)
    with torch.no_grad():
        same = torch.equal(_outputs(trainer, x), _outputs(trainer, x))
    message = "outputs repeat" if same else "outputs vary between calls: dropout in forward()?"
    return Finding("eval_mode", same, message)


@register("check", "redundant_bias")
def redundant_bias(trainer: Trainer) -> Finding | None:
    """No bias right before a normalisation that cancels it."""
    pairs = [
        name
        for name, layer, follower in _neighbours(trainer.model)
        if getattr(layer, "bias", None) is not None
        and isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
        and isinstance(follower, _BatchNorm | _InstanceNorm)
    ]
    message = f"the biases of {', '.join(pairs)} are cancelled by the norm: `bias: false`"
    return Finding("redundant_bias", not pairs, message if pairs else "none")


@register("check", "missing_bias")
def missing_bias(trainer: Trainer) -> Finding | None:
    """The last layer has a bias, unless its targets are centred."""
    layers = [module for module in trainer.model.modules() if isinstance(module, nn.Linear)]
    centred = trainer.data.encoding.standardizes
    missing = bool(layers) and layers[-1].bias is None and not centred
    message = "the last layer has no bias, but classes may be uneven" if missing else "none"
    return Finding("missing_bias", not missing, message)


@register("check", "symmetry")
def symmetry(trainer: Trainer) -> Finding | None:
    """After some steps the units of a layer differ: identical ones stay identical."""
    batch = first_rows(trainer)
    model = copy.deepcopy(trainer.model).train()
    _switch_off_dropout(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        torch.autograd.backward(trainer.task.loss(model(batch.inputs), batch))
        optimizer.step()
    equal = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and _rows_are_equal(module.weight)
    ]
    hidden = equal[:-1] if len(equal) > 1 else equal
    message = f"all units of layer {', '.join(hidden)} are identical: use random weights"
    return Finding("symmetry", not equal, message if equal else "units differ", "error")


@register("check", "signal_propagation")
def signal_propagation(trainer: Trainer) -> Finding | None:
    """Through an untrained net neither the signal nor its gradient shrinks or grows by 10 times.

    Standard deviations of the outputs of weighted layers, and the loss's gradient by them, from
    the first to the last hidden layer (Glorot & Bengio, 2010).
    """
    signals = signals_of(trainer, first_rows(trainer))
    if signals is None:
        return None
    message = (
        f"from the first of {len(signals.layers) - 1} hidden layers to the last the signal is "
        f"multiplied by {signals.forward:.2g}, back to the first its gradient by "
        f"{signals.backward:.2g}"
    )
    worst = max(signals.forward, 1 / max(signals.forward, 1e-30))
    worst = max(worst, signals.backward, 1 / max(signals.backward, 1e-30))
    if worst < SIGNAL_FACTOR:
        return Finding("signal_propagation", True, message)
    advice = "try he_normal for relu, xavier_normal for tanh, or a normalization"
    return Finding("signal_propagation", False, f"{message}: {advice}")


@register("check", "split_leakage")
def split_leakage(trainer: Trainer) -> Finding | None:
    """No row of the training split is in the validation or the test split as well."""
    data = trainer.data
    train = _row_hashes(data.train)
    if train is None:
        return None
    shared = {
        name: len(train & hashes)
        for name, split in (("validation", data.val), ("test", data.test))
        if split is not None and (hashes := _row_hashes(split)) is not None
    }
    leaks = {name: count for name, count in shared.items() if count}
    message = "no row is in two splits"
    if leaks:
        told = " and ".join(f"{count} of the {name} split" for name, count in leaks.items())
        message = f"training rows are in other splits too: {told}"
    return Finding("split_leakage", not leaks, message)


def first_rows(trainer: Trainer) -> Batch:
    """Return the first rows of the training split, on the trainer's device."""
    return next(batches_of(trainer.data.train, trainer.device).read(ROWS))


def _rows(x: Tree, start: int, count: int) -> Tree:
    return map_tree(lambda leaf: leaf[start : start + count], x)


def _outputs(trainer: Trainer, x: Tree) -> Tensor:
    outputs = trainer.model.eval()(x)
    first: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs  # what is predicted
    return first.float()


def _score(trainer: Trainer, outputs: Tree, batch: Batch) -> float:
    metrics = trainer.task.summary(trainer.task.totals(outputs, batch).tolist())
    return metrics.get("accuracy", metrics.get("r2", 0.0))


def _switch_off_dropout(model: nn.Module) -> None:
    """Put modules without weights into evaluation mode: of these only dropouts know of it."""
    for module in model.modules():
        if not any(True for _ in module.parameters()) and not any(True for _ in module.children()):
            module.eval()


def _neighbours(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Yield (name of the first, first, second) of modules that follow each other in order."""
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Sequential):
            for (name, first), (_, second) in itertools.pairwise(module.named_children()):
                yield f"{prefix}.{name}".lstrip("."), first, second


def _rows_are_equal(weight: Tensor) -> bool:
    rows = weight.detach().flatten(1)
    return len(rows) > 1 and bool((rows - rows[:1]).abs().max() <= 1e-7 * rows.abs().max())


def _row_hashes(split: Split) -> set[int] | None:
    """Hashes of the inputs of a split in memory; two rows with one hash are the same."""
    if not isinstance(split, Arrays):
        return None
    rows = np.ascontiguousarray(split.x.reshape(len(split.x), -1))
    return {hash(row.tobytes()) for row in rows}


_log = logging.getLogger(__name__)

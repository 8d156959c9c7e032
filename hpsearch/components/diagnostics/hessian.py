"""The extreme eigenvalues of the loss's Hessian: how sharply the loss curves where training is."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hpsearch.components.batch import Batch, Tree
from hpsearch.components.callbacks import BaseCallback
from hpsearch.registry import register

NAME = "hessian"
GREATEST, LEAST = "hessian_max_eigenvalue", "hessian_min_eigenvalue"
THRESHOLD = "stability_threshold"
#: what an estimate may be off, as a part of the greater of both in size, where iterations end
TOLERANCE = 1e-3

#: v → H v, both flat (parameters,)
Product = Callable[[Tensor], Tensor]


@register("callback", NAME)
@dataclass(eq=False)
class Hessian(BaseCallback):
    """Measures the greatest and the least eigenvalue of the loss's Hessian, every N epochs.

    `hessian_max_eigenvalue` is the sharpness of Cohen et al. (2021), arXiv 2103.00065, beside it
    `stability_threshold`, 2 / lr: gradient descent without momentum on the same rows is unstable
    where the sharpness is above it. `hessian_min_eigenvalue` is below 0 near a saddle. Of the
    task's loss alone, without regularizers, on `batches` training batches, in evaluation mode: no
    dropout, norms by their running statistics. By Lanczos' method, up to `iterations` products of
    the Hessian and a vector, each a forward and two backward passes of those batches; fewer where
    both are found within 0.1 %. Measured in the first epoch and every so many after it, `every`;
    the epochs between have the last values.
    """

    batches: Annotated[int, Ge(1)] = 1
    iterations: Annotated[int, Ge(1)] = 30
    every: Annotated[int, Ge(1)] = 1
    _epoch: int = field(default=0, init=False, repr=False)
    _last: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    metrics: ClassVar[tuple[str, ...]] = (GREATEST, LEAST, THRESHOLD)

    def measure(
        self,
        model: nn.Module,
        loss: Callable[[Tree, Batch], Tensor],
        batches: Iterator[Batch],
    ) -> dict[str, float]:
        """Return both eigenvalues at the model as the epoch left it, or the last ones."""
        if self._epoch % self.every == 0:
            seen = list(itertools.islice(batches, self.batches))
            if not seen:
                return {}
            model = copy.deepcopy(model).eval()
            params = [param for param in model.parameters() if param.requires_grad]
            start = torch.cat([torch.randn_like(param).flatten() for param in params])
            with twice_differentiable():
                product = hessian_product(model, loss, seen, params)
                least, greatest = extreme_eigenvalues(product, start, self.iterations)
            found = {GREATEST: greatest, LEAST: least}
            self._last = {name: value for name, value in found.items() if math.isfinite(value)}
        self._epoch += 1
        return dict(self._last)

    def derived(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the sharpness up to which gradient descent with the epoch's rate is stable."""
        return {THRESHOLD: 2 / metrics["lr"]} if metrics["lr"] else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs seen and the last values."""
        return {"epoch": self._epoch, "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._epoch, self._last = state["epoch"], dict(state["last"])


def hessian_product(
    model: nn.Module,
    loss: Callable[[Tree, Batch], Tensor],
    batches: Sequence[Batch],
    params: Sequence[Tensor],
) -> Product:
    """Return v → H v of the mean loss of batches of one size (Pearlmutter, 1994)."""
    sizes = [param.numel() for param in params]

    def product(vector: Tensor) -> Tensor:
        total = torch.zeros_like(vector)
        for number, batch in enumerate(batches):
            torch.manual_seed(number)  # what draws in evaluation too draws the same each time
            value = loss(model(batch.inputs), batch)
            grads = torch.autograd.grad(value, params, create_graph=True, materialize_grads=True)
            parts = torch.split(vector, sizes)
            slope = sum(
                (grad * part.view_as(grad)).sum() for grad, part in zip(grads, parts, strict=True)
            )
            if isinstance(slope, Tensor) and slope.requires_grad:  # else the loss is linear
                rows = torch.autograd.grad(slope, params, materialize_grads=True)
                total += torch.cat([row.flatten() for row in rows])
        return total / len(batches)

    return product


def extreme_eigenvalues(product: Product, start: Tensor, iterations: int) -> tuple[float, float]:
    """Return the least and the greatest eigenvalue of a symmetric matrix, given v → A v.

    Lanczos' method without reorthogonalisation: only copies of eigenvalues come of that (Golub
    and Van Loan, 2013, Matrix Computations, 10.3). An estimate's error is at most |β s|, the next
    β times the last entry of its vector. Both are nan where products aren't finite.

    >>> matrix = torch.diag(torch.tensor([-3.0, 1.0, 2.0]))
    >>> [round(each, 4) for each in extreme_eigenvalues(lambda v: matrix @ v, torch.ones(3), 3)]
    [-3.0, 2.0]
    """
    vector, before = start / start.norm(), torch.zeros_like(start)
    diagonal: list[float] = []
    beside: list[float] = [0.0]  # β, of which the first is of no vector
    values = torch.zeros(1, dtype=torch.float64)
    for _ in range(min(iterations, start.numel())):
        image = product(vector) - beside[-1] * before
        diagonal.append(float(image @ vector))
        image = image - diagonal[-1] * vector
        beside.append(float(image.norm()))
        if not math.isfinite(beside[-1]):
            return math.nan, math.nan
        values, vectors = torch.linalg.eigh(_tridiagonal(diagonal, beside[1:-1]))
        errors = beside[-1] * vectors[-1, [0, -1]].abs()
        if float(errors.max()) <= TOLERANCE * float(values.abs().max()):
            break
        before, vector = vector, image / beside[-1]
    return float(values[0]), float(values[-1])


def _tridiagonal(diagonal: Sequence[float], beside: Sequence[float]) -> Tensor:
    middle = torch.tensor(diagonal, dtype=torch.float64).diag()
    side = torch.tensor(beside, dtype=torch.float64)
    return middle + side.diag(1) + side.diag(-1) if len(beside) else middle


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Leave out, as long as the context lasts, kernels whose backward pass has no gradient: fused
    ones of recurrent layers on a GPU, and of attention."""
    with torch.backends.cudnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
        yield

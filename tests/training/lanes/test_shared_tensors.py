"""Models of users' own whose modules share tensors, and callbacks that change a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch.components import Data
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.training.lanes.gradients import Gradients
from hpsearch.training.lanes.lanes import Lanes
from tests.support.lanes import alone, assert_same, lane_config, together


class Shifted(nn.Module):
    """Adds a buffer that grows with each step."""

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        if self.training:
            with torch.no_grad():
                self.offset.add_(0.002)
        return x + self.offset


class Halves(nn.Module):
    """Adds the first half of its parameter, which is another name of it."""

    half_of: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))
        self.register_buffer("half_of", self.scale.detach()[: size // 2])

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        return x * self.scale + self.half_of.sum()


def a_layer() -> list[nn.Module]:
    layer = nn.Linear(8, 8)
    return [layer, nn.Tanh(), layer]


def a_weight() -> list[nn.Module]:
    one, other = nn.Linear(8, 8), nn.Linear(8, 8)
    other.weight = one.weight
    return [one, nn.Tanh(), other]


def a_weight_by_vmap() -> list[nn.Module]:
    return [nn.LayerNorm(8), *a_weight()]


def a_frozen_weight() -> list[nn.Module]:
    layers = a_weight()
    layers[0].weight.requires_grad_(False)  # type: ignore[union-attr]
    return layers


def a_buffer() -> list[nn.Module]:
    offset = torch.zeros(())
    return [Shifted(offset), nn.Tanh(), Shifted(offset)]


def two_buffers() -> list[nn.Module]:
    return [Shifted(torch.zeros(())), nn.Tanh(), Shifted(torch.zeros(()))]


def a_view() -> list[nn.Module]:
    return [Halves(8)]


SHARED: dict[str, Callable[[], list[nn.Module]]] = {
    each.__name__: each
    for each in (
        *(a_layer, a_weight, a_weight_by_vmap, a_frozen_weight),
        *(a_buffer, two_buffers, a_view),
    )
}


def sharing(input_shape: tuple[int, ...], output_size: int, what: str) -> nn.Module:
    """A model that uses something twice."""
    first, last = nn.Linear(input_shape[0], 8), nn.Linear(8, output_size)
    return nn.Sequential(first, nn.Tanh(), *SHARED[what](), nn.Tanh(), last)


class Changing:
    """A callback that gives a model another buffer, or another module, after its second epoch."""

    is_over = False

    def __init__(self, what: str) -> None:
        self._what, self._num_epochs = what, 0

    def before_evaluation(self, model: nn.Module, train_batches: Callable[[], Any]) -> None:
        """Change the model."""
        self._num_epochs += 1
        if self._num_epochs == 2 and self._what == "buffer":
            model[2].offset = torch.full((), -1.0)  # type: ignore[index]
        if self._num_epochs == 2 and self._what == "module":
            model[1] = nn.Sigmoid()  # type: ignore[operator]

    def after_epoch(self, model: nn.Module, metrics: Mapping[str, float], **_: Any) -> bool:
        """Change nothing."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept."""
        return {"num_epochs": self._num_epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what was kept."""
        self._num_epochs = state["num_epochs"]


def changing(metrics: Any, what: str) -> Changing:
    """Return the callback."""
    return Changing(what)


def lane(number: int, **values: Any) -> TrialConfig:
    return replace(lane_config(number, **values), folder=str(Path(__file__).parent))


def here(factory: str, **keywords: Any) -> dict[str, Any]:
    return {"name": f"{Path(__file__).name}:{factory}", **keywords}


def compared(configs: list[TrialConfig], data: Data, *, stacked: bool) -> Lanes:
    trained, lanes = together(configs, data, 3, stacked=stacked)
    for one, other in zip(alone(configs, data, 3), trained, strict=True):
        assert_same(one, other)
        lanes.leave(other.trainer)
        mine, theirs = (dict(_shared(each.trainer.model)) for each in (one, other))
        assert mine == theirs
    return lanes


def _shared(model: nn.Module) -> Any:
    """Yield of each tensor which other ones are in the same place."""
    tensors = [*model.named_parameters(remove_duplicate=False)]
    tensors += model.named_buffers(remove_duplicate=False)
    for name, tensor in tensors:
        yield name, {other for other, one in tensors if one.data_ptr() == tensor.data_ptr()}


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("what", SHARED)
def test_tensors_stay_shared(what: str, stacked: bool, wine: Data) -> None:
    configs = [lane(number, model=here("sharing", what=what)) for number in range(3)]
    lanes = compared(configs, wine, stacked=stacked)
    assert lanes.num_fused == (0 if what == "a_view" else 9)


def test_what_shares_a_tensor_is_another_program(wine: Data) -> None:
    """The same modules, of which two share a buffer or have their own."""
    shapes = ["a_buffer", "a_buffer", "two_buffers", "two_buffers"]
    configs = [lane(n, model=here("sharing", what=what)) for n, what in enumerate(shapes)]
    assert compared(configs, wine, stacked=False).num_fused == 12


@pytest.mark.parametrize("what", ["buffer", "module"])
def test_a_callback_may_change_a_model(what: str, wine: Data) -> None:
    model, callbacks = here("sharing", what="a_buffer"), [here("changing", what=what)]
    configs = [lane(number, model=model) for number in range(2)]
    configs += [lane(2 + number, model=model, callbacks=callbacks) for number in range(2)]
    assert compared(configs, wine, stacked=False).num_fused == 12


def test_memory_that_is_missing_for_a_trial_step_is_no_reason(
    wine: Data, monkeypatch: Any
) -> None:
    """Fewer lanes may fit."""
    configs = [lane(number) for number in range(2)]
    with monkeypatch.context() as patched, pytest.raises(Exception, match="no memory") as raised:
        patched.setattr(Gradients, "take", _out_of_memory)
        together(configs, wine, 1)
    assert isinstance(raised.value.__cause__, torch.OutOfMemoryError)
    assert together(configs, wine, 1)[1].num_fused == 2


def _out_of_memory(*arguments: Any, **keywords: Any) -> None:
    raise torch.OutOfMemoryError("no memory")


def test_a_trial_without_finite_numbers_is_no_reason(wine: Data) -> None:
    """The first lane is what others are compared with."""
    wild = {"name": "uniform", "bound": 1e38}
    configs = [lane(0, initializer=wild), lane(1), lane(2)]
    lanes = Lanes()
    for config in configs:
        lanes.join(Trainer(config, wine))
    results = list(lanes.train_epoch().values())
    assert [isinstance(result, dict) for result in results] == [False, True, True]
    assert lanes.reasons == set()

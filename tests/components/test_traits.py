"""What the code of a family asks of a component is in its registration, not in its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpsearch.components.finetuning import LEAVES_REST, FineTuning, subset
from hpsearch.components.initializers.by_name import initialize
from hpsearch.components.initializers.placement import LEAVES_ALL, PROFILE
from hpsearch.errors import SpecError
from hpsearch.registry import register
from hpsearch.spec import draft_spec
from hpsearch.validation import check_draft
from tests.support.specs import changed

pytestmark = pytest.mark.usefixtures("own_registry")


def test_an_initializer_of_any_name_may_leave_all_weights_and_biases() -> None:
    @register("initializer", "mine", traits={LEAVES_ALL: True})
    def mine(tensor: Tensor) -> None:
        """Leaves all."""

    layer = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    initialize(layer, {"name": "mine"}, Path())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_an_initializer_of_any_name_may_say_how_others_are_drawn() -> None:
    @register("initializer", "mine", traits={PROFILE: {"recurrent": "zeros", "forget_bias": 3.0}})
    def mine(tensor: Tensor) -> None:
        """Ones."""
        nn.init.ones_(tensor)

    lstm = nn.LSTM(2, 3)
    initialize(lstm, {"name": "mine"}, Path())
    assert torch.equal(lstm.weight_ih_l0, torch.ones(12, 2))
    assert torch.equal(lstm.weight_hh_l0, torch.zeros(12, 3))
    assert lstm.bias_ih_l0[3:6].tolist() == [3.0] * 3


@pytest.mark.parametrize("traits", [{LEAVES_REST: True}, {}])
def test_a_finetuning_of_any_name_may_leave_rows_out(traits: dict[str, Any]) -> None:
    @register("finetune", "mine", traits=traits)
    def mine(model: nn.Module) -> FineTuning:
        """Half of the rows."""
        return subset(model)

    draft = draft_spec(changed(finetune="mine", objective={"metric": "rest_accuracy"}))
    if traits:
        assert check_draft(draft)[0].objective.metric == "rest_accuracy"
        return
    with pytest.raises(SpecError, match="objective.metric: must be a metric that every trial"):
        check_draft(draft)

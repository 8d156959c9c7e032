"""The optimizers of pytorch_optimizer, `po:NAME`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter

from hpsearch import registry
from hpsearch.components.optimizers import build_optimizer, pytorch_optimizer
from hpsearch.errors import SpecError
from hpsearch.spec import Range, draft_spec
from hpsearch.training.groups import load_optimizer_state, optimizer_state
from hpsearch.training.seeds import seed_all
from hpsearch.validation import check
from hpsearch.validation.signatures import check_value
from tests.support.optimizers import Net
from tests.support.specs import changed


class TestLibrary:
    @pytest.mark.parametrize("name", pytorch_optimizer.names())
    def test_each_trains(self, name: str) -> None:
        component = registry.get("optimizer", f"po:{name}")
        layer = Net("sgd")
        optimizer = component.build({}, params=list(layer.layer.parameters()))
        before = [weight.clone() for weight in layer.weights]
        layer.optimizer = optimizer
        layer.train(20)
        assert all(torch.isfinite(weight).all() for weight in layer.weights)
        pairs = zip(before, layer.weights, strict=True)
        assert any(not torch.equal(one, other) for one, other in pairs)
        assert all("lr" in group for group in optimizer.param_groups)

    @pytest.mark.parametrize("name", pytorch_optimizer.names())
    def test_each_goes_on_exactly(self, name: str) -> None:
        """Some count steps, or keep estimates, in their groups."""

        def net() -> Net:
            made = Net("sgd")
            section = {"name": f"po:{name}", "lr": 0.01}
            groups = [{"params": list(made.layer.parameters())}]
            torch.manual_seed(1)
            made.optimizer = build_optimizer(section, groups, Path())
            return made

        whole, first, second = net(), net(), net()
        seed_all(2)
        whole.train(6)
        seed_all(2)
        first.train(3)
        second.layer.load_state_dict(copy.deepcopy(first.layer.state_dict()))
        state = copy.deepcopy(optimizer_state(first.optimizer))
        load_optimizer_state(second.optimizer, state)
        second.train(3, start=3)
        for one, other in zip(whole.weights, second.weights, strict=True):
            assert torch.equal(one, other)

    def test_keywords_are_the_classs_own(self) -> None:
        component = registry.get("optimizer", "po:lion")
        assert {"lr", "betas", "weight_decay"} <= component.keywords.keys()
        assert not component.takes_any_keyword
        assert "foreach" not in component.keywords

    def test_the_rate_is_recommended_around_the_librarys_default(self) -> None:
        spec = check(draft_spec(changed(optimizer={"name": "po:lion", "lr": "auto"})))
        assert spec.optimizer["lr"] == Range(
            low=1e-5, high=1e-3, log=True, prior=1e-4, confidence="low"
        )

    @pytest.mark.parametrize("name", pytorch_optimizer.names())
    def test_what_a_keyword_must_be_is_known(self, name: str) -> None:
        """An annotation that can't be checked lets every value through."""
        component = registry.get("optimizer", f"po:{name}")
        for key, parameter in component.own_keywords.items():
            TypeAdapter(parameter.annotation)
            assert check_value(["?"], parameter.annotation, key) != []
        assert "lr" in component.recommended

    @pytest.mark.parametrize(("lr", "rule"), [("fast", "number"), (-1.0, "greater than 0")])
    def test_a_wrong_rate_is_refused(self, lr: Any, rule: str) -> None:
        with pytest.raises(SpecError, match=rf"optimizer\.lr: must be .*{rule}"):
            check(draft_spec(changed(optimizer={"name": "po:sgdw", "lr": lr})))

    def test_an_unknown_name_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(SpecError, match=r"po:lionn.*did you mean 'po:lion'"):
            check(draft_spec(changed(optimizer={"name": "po:lionn"})))

    def test_is_used_by_a_spec(self) -> None:
        spec = check(draft_spec(changed(optimizer={"name": "po:lion", "lr": 1e-3})))
        assert spec.optimizer == {"name": "po:lion", "lr": 1e-3}

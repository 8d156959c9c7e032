"""Users' code that ends the program is an error of the spec, wherever it is called."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from torch import Tensor, nn

from hpsearch.errors import SpecError, UserCodeError
from hpsearch.registry import register
from hpsearch.spec import draft_spec
from hpsearch.tuning.on_ray.cluster import _why_not_started
from hpsearch.validation import check
from tests.support.specs import changed


class Leaving(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        sys.exit("no licence")


def leaving() -> nn.Module:
    return Leaving()


def net(input_shape: Any, output_size: int) -> nn.Module:
    sys.exit("no licence")


@pytest.fixture(autouse=True)
def registered(own_registry: None) -> None:
    register("model", "leaving_as_it_is_built")(net)


@pytest.mark.parametrize("name", [f"{__name__}:net", "leaving_as_it_is_built"])
def test_in_a_factory(name: str) -> None:
    with pytest.raises(SpecError, match=r"^model: .*ended the program by SystemExit\('no lic"):
        check(draft_spec(changed(model=name)))


def test_in_what_a_factory_made() -> None:
    model = {"name": "mlp", "hidden_sizes": [4], "activation": f"{__name__}:leaving"}
    with pytest.raises(
        (SpecError, UserCodeError), match=r"line \d+ of .*test_exits.py ended the program"
    ):
        check(draft_spec(changed(model=model)))


def test_why_ray_is_not_started() -> None:
    long = OSError("AF_UNIX path length cannot exceed 107 bytes: /tmp/x/ray/sockets/plasma_store")
    assert "plasma_store; set TMPDIR to a shorter path" in _why_not_started(long)
    denied = PermissionError(13, "Permission denied", "home/.ray")
    assert "'home/.ray'; Ray writes below HOME (" in _why_not_started(denied)
    assert _why_not_started(Exception("late")) == "Ray can't be started on this machine: late"

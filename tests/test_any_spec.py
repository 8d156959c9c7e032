"""Specs by chance are refused clearly, or train."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.chance import trains


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.parametrize("seed", range(16))
def test_it_trains_goes_on_exactly_and_is_given_away(seed: int) -> None:
    trains(seed)

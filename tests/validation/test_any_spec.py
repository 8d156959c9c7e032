"""Specs by chance are refused clearly, or train."""

from __future__ import annotations

import pytest

from tests.support.chance import trains


@pytest.mark.parametrize("seed", range(16))
def test_it_trains_goes_on_exactly_and_is_given_away(seed: int) -> None:
    trains(seed)

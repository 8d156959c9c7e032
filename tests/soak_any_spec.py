"""More specs by chance than the default run has."""

from __future__ import annotations

import pytest

from tests.chance import trains
from tests.test_any_spec import one_thread  # noqa: F401  # a fixture


@pytest.mark.parametrize("seed", range(16, 400))
def test_it_trains_goes_on_exactly_and_is_given_away(seed: int) -> None:
    trains(seed)

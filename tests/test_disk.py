"""Quotas of disk, checked before a search starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.components import load_data
from hpsearch.errors import SpecError
from hpsearch.validation.disk import check_disk, num_checkpoints
from tests.conftest import make_spec

DATA = load_data({"name": "digits"}, seed=0)
WIDE = {"name": "mlp", "hidden_sizes": {"choices": [[16], [4096, 4096]]}}


def test_a_quota_that_is_too_small_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    # The wide net has 64·4096 + 4096² + 4096·10 weights and as many biases: 17 million.
    spec = make_spec(model=WIDE, search={"disk_quota": "500MB"})
    with pytest.raises(SpecError, match=r"disk_quota: must be at least 6\d\d MB \(3 checkpoints"):
        check_disk(spec, DATA, 1, tmp_path)
    check_disk(make_spec(model=WIDE, search={"disk_quota": "1GB"}), DATA, 1, tmp_path)


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    spec = make_spec(model=WIDE, search={"keep_checkpoints": 1_000_000})
    with pytest.raises(SpecError, match="search.keep_checkpoints: needs .* has .* left"):
        check_disk(spec, DATA, 1, tmp_path)


def test_trials_that_wait_at_a_rung_keep_their_checkpoints() -> None:
    assert num_checkpoints(make_spec(search={"keep_checkpoints": 2}), slots=4) == 10
    promotion = make_spec(search={"trials": 50, "early_stopping": {"name": "asha_promotion"}})
    assert num_checkpoints(promotion, slots=4) == 59

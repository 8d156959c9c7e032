"""A sampler of the user's, named by its file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import UserCodeError
from hpsearch.record import Record
from hpsearch.tuning.sampling import sampler_of
from tests.support.specs import make_spec


def test_is_found_beside_the_spec_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "sampler_of_mine.py").write_text(
        "class Always:\n"
        "    def __init__(self, space): self.names = list(space.distributions)\n"
        "    def suggest(self, number, observations): return dict.fromkeys(self.names, 0.5)\n"
    )
    settings = {"name": "sampler_of_mine.py:Always"}
    spec = make_spec(
        tmp_path,
        trainable="train.py:train",
        space={"x": {"low": 0.0, "high": 1.0}},
        search={"sampler": settings},
    )
    record = Record.create(tmp_path / "record.journal", spec)
    assert Path.cwd() != tmp_path
    sampler = sampler_of(record, make_early_stopper(spec), 1, settings)
    assert sampler.suggest(0, []) == {"x": 0.5}
    with pytest.raises(UserCodeError, match=r"^search.sampler.name: must be one of auto, cmaes"):
        sampler_of(record, make_early_stopper(spec), 1, {"name": "gone"})
    sys.modules.pop("sampler_of_mine")

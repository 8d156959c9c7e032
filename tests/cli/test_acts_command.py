"""Commands that act on trials, and the list of searches, in the words of hpsearch."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.errors import SpecError
from hpsearch.runs import Runs
from tests.support.specs import make_spec


@pytest.mark.parametrize("trial", ["foo", "1.5", "²"])
@pytest.mark.parametrize("act", [["stop"], ["extend", "--to", "3"], ["clone", "--set", "a=1"]])
def test_a_trial_is_a_number(act: list[str], trial: str) -> None:
    words = ["trial", act[0], "search", trial, *act[1:]]
    with pytest.raises(SpecError) as caught:
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert str(caught.value) == (
        f"TRIAL: must be the number of a trial, such as 3, but got {trial!r}"
    )


def test_names_are_listed_in_full_however_narrow_the_terminal(tmp_path: Path) -> None:
    names = ["a" * 60, "b-study-with-a-long-name-and-its-case-and-its-variant-17"]
    for name in names:
        Runs(tmp_path / "runs").create(make_spec(tmp_path, name=name))
    shown = CliRunner().invoke(
        app, ["list", "--runs", str(tmp_path / "runs")], env={"COLUMNS": "60"}
    )
    for name in names:
        assert name in shown.stdout

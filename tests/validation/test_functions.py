"""A training function that can't report is refused before any trial starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.errors import SpecError
from hpsearch.validation import load_checked_spec

SPEC = """
name: demo
objective: {{metric: score}}
trainable: fns_{function}.py:{function}
space: {{x: {{low: 0.0, high: 1.0}}}}
search: {{trials: 2, early_stopping: {{max_epochs: 3}}}}
"""
CODE = """
def yields(config):
    yield {"score": config["x"]}

def reports(config, trial):
    trial.report({"score": config["x"]})

def silent(config):
    return {"score": config["x"]}
"""


def check(folder: Path, function: str) -> None:
    (folder / f"fns_{function}.py").write_text(CODE)
    (folder / "s.yaml").write_text(SPEC.format(function=function))
    load_checked_spec(folder / "s.yaml")


@pytest.mark.parametrize("function", ["yields", "reports"])
def test_a_function_that_can_report_is_fine(tmp_path: Path, function: str) -> None:
    check(tmp_path, function)


def test_a_function_without_trial_must_yield(tmp_path: Path) -> None:
    rule = r"must take the argument trial, to report its metrics, or yield them, but got .*silent"
    with pytest.raises(SpecError, match=rule):
        check(tmp_path, "silent")

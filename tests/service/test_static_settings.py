"""What is said of users' samplers, rules and launchers without running their code."""

from __future__ import annotations

from pathlib import Path

from hpsearch.service.checks.static import static_problems
from hpsearch.spec import draft_spec
from tests.support.specs import changed

CODE = """
def rule(max_epochs, floor): ...
def launcher(config, data, speed=1): ...
raise SystemExit("this must not run")
"""


def test_settings_that_name_code_are_read_like_sections(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CODE)
    raw = changed(
        launcher={"name": "own.py:launcher", "sped": 2},
        search={
            "early_stopping": {"name": "own.py:rule", "max_epochs": 3},
            "sampler": "gone.py:sampler",
        },
    )
    found = {str(each) for each in static_problems(draft_spec(raw, tmp_path))}
    assert found == {
        "search.early_stopping.floor: must be given for early_stopping rule",
        "search.sampler.name: must name a file of the uploaded code, but got 'gone.py:sampler'",
        "launcher.sped: must be a keyword of launcher own.py:launcher, but got 'sped'; "
        "did you mean 'speed'?",
    }


def test_settings_that_name_none_have_no_problem(tmp_path: Path) -> None:
    for search in ({}, {"early_stopping": "median", "sampler": {"name": "tpe"}}, [], "x"):
        assert list(static_problems(draft_spec(changed(search=search), tmp_path))) == []

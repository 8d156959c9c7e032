"""What a script imports: quick, and of no effect outside a search."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hpsearch
from hpsearch import reporting


def test_outside_a_search_nothing_happens(tmp_path: Path) -> None:
    assert not reporting.is_trial()
    hpsearch.report({"val/loss": 1.0}, epoch=1, accuracy="no number", on_stop="raise")
    assert hpsearch.checkpoint_dir(tmp_path / "mine") == tmp_path / "mine"
    assert (tmp_path / "mine").is_dir()


def test_a_script_imports_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import hpsearch; hpsearch.report;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "['hpsearch']"


@pytest.mark.parametrize(
    ("name", "value"),
    [("epoch", -1), ("epoch", 1.5), ("step", True), ("epoch", "one"), ("step", float("inf"))],
)
def test_an_epoch_is_a_whole_number(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(reporting.SOCKET, "/nowhere")
    with pytest.raises(TypeError, match=f"{name} must be a (whole )?number"):
        hpsearch.report(**{name: value})

"""What validation tries is the code that workers import: the files as they are now."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from hpsearch.errors import SpecError
from hpsearch.validation import check_spec
from tests.support.specs import make_spec

SPACE = {"lr": {"low": 0.0, "high": 1.0}}
GOOD = "def train(config, trial): yield {'score': 1.0}\n"


pytestmark = pytest.mark.usefixtures("forgotten_imports")


def check(folder: Path, name: str = "edited_code.py:train") -> None:
    check_spec(make_spec(folder, trainable=name, space=SPACE))


def test_an_edited_file_is_checked_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "edited_code.py"
    file.write_text(GOOD)
    check(tmp_path)
    file.write_text("def train(config): yield {}\nraise OSError('no server')\n")
    with pytest.raises(SpecError, match="OSError: no server"):
        check(tmp_path)
    file.write_text(GOOD)
    check(tmp_path)


def test_so_is_one_that_an_unchanged_file_imports(tmp_path: Path) -> None:
    (tmp_path / "edited_part.py").write_text("VALUE = 1\n")
    (tmp_path / "edited_code.py").write_text(f"from edited_part import VALUE\n{GOOD}")
    check(tmp_path)
    (tmp_path / "edited_part.py").write_text("")
    with pytest.raises(SpecError, match="cannot import name 'VALUE'"):
        check(tmp_path)


def test_so_is_one_that_its_user_imported_before_and_keeps(tmp_path: Path) -> None:
    file = tmp_path / "edited_code.py"
    file.write_text("VALUE = 1\n")
    sys.path.insert(0, str(tmp_path))
    mine = importlib.import_module("edited_code")
    file.write_text(f"{GOOD}VALUE = 22\n")
    check(tmp_path)
    assert sys.modules["edited_code"] is mine
    assert mine.VALUE == 1


def test_main_is_refused_with_what_to_name() -> None:
    with pytest.raises(SpecError, match="^trainable: __main__:train: workers have another"):
        check(Path(), "__main__:train")

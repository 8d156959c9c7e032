"""Options that a command gives and that its script doesn't have, or whose values it refuses."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.validation import check

SCRIPT = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("-b", "--batch-size", type=int)
    group = parser.add_argument_group("optimizer")
    group.add_argument("--lr", "--learning-rate", type=float)
    parser.add_argument("--amp", action=argparse.BooleanOptionalAction)
    parser.add_argument("--opt", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--width", type=int, choices=(16, 32))
    parser.add_argument("--betas", type=float, nargs=2)
    parser.add_argument("--own", type=int, action=Own)
    options = parser.parse_args()
"""
RANGE = {"low": 0.1, "high": 1.0}


def problems(folder: Path, script: str = SCRIPT, **changes: Any) -> list[str]:
    (folder / "train.py").write_text(dedent(script))
    raw = {"name": "x", "command": "python train.py", "space": {"lr": RANGE}, **changes}
    raw |= {"objective": {"metric": "accuracy"}}
    try:
        check(draft_spec(raw, folder))
    except SpecError as error:
        return [str(each) for each in error.problems]
    return []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"space": {"learning-rate": RANGE, "batch-size": 32}},
        {"command": "python train.py --learn {lr} -b 3 --no-amp"},
        {"command": "python train.py --lr={lr} -- --data"},
        {"space": {"opt": {"choices": ["sgd", None]}, "width": {"choices": [16, 32]}}},
        {"space": {"amp": {"choices": [True, False]}, "betas": {"choices": [[0.9, 0.99]]}}},
        {"space": {"own": RANGE}},
        {"space": {"lr": {"low": 1, "high": 9}, "batch-size": {"low": 1, "high": 9}}},
        {"command": "torchrun --nproc-per-node 2 train.py"},
        {
            "command": {"run": "python train.py", "arguments": "environment"},
            "space": {"x": {"choices": [1, 2]}},
        },
    ],
)
def test_options_that_the_script_has(changes: dict[str, Any], tmp_path: Path) -> None:
    assert problems(tmp_path, **changes) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"space": {"batch_size": 32}},
            "space.batch_size: must be an option of train.py, but got '--batch_size'; "
            "did you mean 'batch-size'?",
        ),
        (
            {"command": "python train.py --learning_rate {lr}"},
            "command.run: must be an option of train.py, but got '--learning_rate'; "
            "did you mean '--learning-rate'?",
        ),
        (
            {"space": {"optimizer": {"choices": [{"name": "sgd", "momentum": RANGE}]}}},
            "space.optimizer: must be an option of train.py, but got '--optimizer'",
        ),
    ],
)
def test_options_that_it_lacks(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert problems(tmp_path, **changes)[0] == expected


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("options =", "add_options(parser)\n    options ="),
        ("options =", "group.add_argument(f'--{group}')\n    options ="),
        ("options =", "other = argparse.ArgumentParser()\n    options ="),
        ("options = parser.parse_args", "options = parser.parse_known_args"),
        ("ArgumentParser()", "ArgumentParser(parents=[common])"),
        ("parser = argparse.", "self.parser = argparse."),
        ("import argparse", "import jsonargparse as argparse"),
        ("import argparse", "import argparse ("),
    ],
)
def test_scripts_that_may_have_more(text: str, becomes: str, tmp_path: Path) -> None:
    script = SCRIPT.replace(text, becomes)
    assert problems(tmp_path, script, space={"other": RANGE}) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"space": {"opt": {"choices": ["sgd", "adamw"]}}},
            "space.opt: must be one of sgd, adam for --opt of train.py, but got 'adamw'",
        ),
        (
            {
                "command": "python train.py --width={size}",
                "space": {"size": {"low": 16, "high": 17}},
            },
            "space.size: must be one of 16, 32 for --width of train.py, "
            "but got {'low': 16, 'high': 17}",
        ),
        (
            {"space": {"batch-size": RANGE}},
            "space.batch-size: must be a whole number for --batch-size of train.py, "
            "but got {'low': 0.1, 'high': 1.0}",
        ),
        (
            {"space": {"lr": {"choices": [0.1, "high"]}}},
            "space.lr: must be a number for --lr of train.py, but got 'high'",
        ),
        (
            {"space": {"amp": {"choices": [0, 1]}}},
            "space.amp: must be true or false for --amp of train.py, but got 0",
        ),
        (
            {"command": "python train.py --amp {fast}", "space": {"fast": {"choices": [1, 2]}}},
            "space.fast: must have no placeholder (with command.arguments: argparse) "
            "for --amp of train.py, but got 1",
        ),
    ],
)
def test_values_that_it_refuses(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert problems(tmp_path, **changes)[0] == expected

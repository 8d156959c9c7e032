"""How a command gets its hyperparameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from hpsearch.spec import Command
from hpsearch.training.command.arguments import Invocation, invocation

FILLED = {"max_epochs": 9, "seed": 1, "trial": 4, "checkpoint_dir": "/c", "output_dir": "/o"}


def called(run: Any, space: dict[str, Any], tmp_path: Path, **settings: Any) -> Invocation:
    command = Command.model_validate({"run": run, **settings})
    return invocation(command, space, FILLED, tmp_path)


@pytest.mark.parametrize(
    ("run", "space", "words"),
    [
        ("python t.py", {"lr": 0.1, "layers": 2}, "python t.py --lr 0.1 --layers 2"),
        ("python t.py", {"flag": True, "no": False, "off": None}, "python t.py --flag"),
        ("t.py", {"sizes": [3, 4]}, "t.py --sizes 3 4"),
        ("t.py", {"opt": {"name": "sgd", "m": 0.9}}, "t.py --opt sgd --opt.m 0.9"),
        ("t.py", {"x": -1e-5}, "t.py --x -0.00001"),
        ("t.py --lr={lr} {max_epochs}", {"lr": 1e-5}, "t.py --lr=1e-05 9"),
        ("t.py --epochs {max_epochs}", {"lr": 1}, "t.py --epochs 9 --lr 1"),
        (["t.py", "{{x}}", "{lr}"], {"lr": 1}, "t.py {x} 1"),
        (
            ["t.py", "--opt", "{opt}", "--m", "{opt.m}", "--last"],
            {"opt": {"name": "adam"}},
            "t.py --opt adam --last",
        ),
        (["t.py", "--m={opt.m}"], {"opt": {"name": "adam"}}, "t.py"),
    ],
)
def test_the_command_line(run: Any, space: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert " ".join(called(run, space, tmp_path).words) == words


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.1, "x=0.1"), (True, "x=true"), ([1, 2], "x=[1,2]"), ("a b", "x='a b'"), ("a/b", "x=a/b")],
)
def test_hydra(value: Any, word: str, tmp_path: Path) -> None:
    assert called("t.py", {"x": value}, tmp_path, arguments="hydra").words == ("t.py", word)


@pytest.mark.parametrize("run", ["t.py", "t.py x={x}"])
@pytest.mark.parametrize(
    "value",
    [
        *(
            "sgd",
            "a/b",
            "a,b",
            "a=b",
            "{a}",
            "[a]",
            "it's",
            "a b",
            "",
            "C:\\x",
            "a\\'b",
            "a\\",
            "a:b",
        ),
        *("true", "null", "1e3", "1_000", "inf", "-x", "(x)", "~x", "${oc.env:HOME}x", "#"),
        *(
            None,
            True,
            False,
            3,
            -1e-5,
            1e30,
            [1, "a,b", None],
            [["x"], []],
            {"a": "b,c", "d": None},
        ),
    ],
)
def test_hydra_reads_the_value(value: Any, run: str, tmp_path: Path) -> None:
    space = {"x": value} if not isinstance(value, dict) else {"x": [value]}
    word = called(run, space, tmp_path, arguments="hydra").words[1]
    override = OverridesParser.create().parse_override(word)
    assert (override.key_or_group, override.value()) == ("x", space["x"])


def test_a_value_that_a_configuration_lacks_is_left_out(tmp_path: Path) -> None:
    run = ["t.py", "opt={opt}", "opt.m={opt.m}"]
    assert called(run, {"opt": {"name": "adam"}}, tmp_path, arguments="hydra").words == (
        "t.py",
        "opt=adam",
    )


def test_hydra_overrides_nested_keys(tmp_path: Path) -> None:
    space = {"optimizer": {"name": "sgd", "lr": 0.1}}
    words = called("t.py", space, tmp_path, arguments="hydra").words
    assert words == ("t.py", "optimizer=sgd", "optimizer.lr=0.1")


@pytest.mark.parametrize("style", ["json", "yaml"])
@pytest.mark.parametrize("run", [["t.py"], ["t.py", "--config", "{config}"]])
def test_a_file(style: str, run: list[str], tmp_path: Path) -> None:
    space = {"lr": 0.1, "opt": {"name": "sgd"}}
    words = called(run, space, tmp_path, arguments=style).words
    read = json.loads if style == "json" else yaml.safe_load
    assert words[:-1] == tuple(run[:2] if len(run) > 1 else run)
    assert words[-1].endswith(style)
    assert read(Path(words[-1]).read_text()) == space


def test_variables(tmp_path: Path) -> None:
    found = called(
        "t.py", {"weight-decay": 0.1, "opt": {"m": 1}}, tmp_path, arguments="environment"
    )
    assert found == Invocation(("t.py",), {"WEIGHT_DECAY": "0.1", "OPT_M": "1"})

"""What is wrong with the spec of a command is said before anything is run."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import draft_spec
from hpsearch.validation import check

SPEC: dict[str, Any] = {
    "name": "script",
    "command": "python train.py",
    "space": {"lr": {"low": 0.1, "high": 1.0}},
    "objective": {"metric": "accuracy"},
}
STDOUT = {"from": "stdout", "pattern": r"acc=(?P<accuracy>\d+)"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").touch()
    return tmp_path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"command": ["python", "train.py", "--lr", "{lr}", "--epochs", "{max_epochs}"]},
        {"command": {"run": "python train.py", "arguments": "hydra", "stop_grace": "30s"}},
        {"command": {"run": "python train.py {config}", "arguments": "yaml"}},
        {"metrics": "report"},
        {"metrics": STDOUT},
        {"metrics": {"name": "jsonl", "path": "{output_dir}/log.jsonl"}},
        {"metrics": {"from": "csv", "path": "logs/{trial}/*.csv"}},
        {
            "metrics": {"from": "csv", "path": "log.csv"},
            "command": {"run": "python train.py", "working_dir": "trial"},
        },
        {
            "space": {
                "opt": {"choices": ["adam", {"name": "sgd", "momentum": {"low": 0, "high": 1}}]}
            },
            "command": ["python", "train.py", "--opt", "{opt}", "--momentum", "{opt.momentum}"],
        },
    ],
)
def test_what_can_work(changes: dict[str, Any], folder: Path) -> None:
    spec = check(draft_spec({**SPEC, **changes}, folder))
    again = check(draft_spec(spec.to_dict(), folder))
    assert again.to_dict() == spec.to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"command": "pyton train.py"},
            "command.run: must be a command on the PATH, but got 'pyt",
        ),
        (
            {"command": "./train.sh"},
            "command.run: must be an executable file, but got './train.sh",
        ),
        (
            {"command": "LEVEL=1 python train.py"},
            "command.run: must be a command on the PATH, but got 'LEVEL=1'; command.environment",
        ),
        (
            {"command": "python train.py | tee log.txt"},
            "command.run: must not need a shell, but got '|'; [bash, -c, ",
        ),
        ({"command": "python trian.py"}, "command.run: must name a file below "),
        ({"command": ""}, "command.run: must be a command line: a text, or a list of words"),
        ({"command": []}, "command.run: must be a command line"),
        ({"command": {"run": 3}}, "command.run: must be a command line"),
        ({"command": "python 'train.py"}, "command.run: must be a command line (No closing"),
        ({"command": {"run": "true", "argument": "x"}}, "command.argument: must be a known key"),
        (
            {"command": {"run": "true", "arguments": "x"}},
            "command.arguments: must be 'argparse', ",
        ),
        ({"command": {}}, "command.run: must be given"),
        ({"command": "python train.py {lrr}"}, "command.run: must be a hyperparameter of `space`"),
        (
            {"command": "python train.py {lr}", "space": {"lr": 1, "wd": 1}},
            "command.run: must have a placeholder for every hyperparameter, and has none for wd",
        ),
        (
            {"command": "python train.py {max_steps} {lr}"},
            "command.steps_per_epoch: must be set where {max_steps} is used",
        ),
        ({"space": {"seed": 1}}, "space.seed: must be renamed: hpsearch fills it in"),
        (
            {"space": {"path": 1}, "command": {"run": "true", "arguments": "environment"}},
            "space.path: must be renamed: this machine has the variable, but got 'PATH'",
        ),
        ({"space": {"a b": 1}}, "space.a b: a hyperparameter's name must be made of letters"),
        ({"space": [1]}, "space: must map the names of hyperparameters"),
        ({"model": "mlp"}, "model: must not be given with command, which does this itself"),
        ({"trainable": "train.py:f"}, "command: must not be given with trainable"),
        ({"metrics": {"from": "stdot"}}, "metrics.name: must be one of csv, jsonl, mlflow"),
        ({"metrics": {"from": "stdout"}}, "metrics.pattern: must be given"),
        ({"metrics": {**STDOUT, "x": 1}}, "metrics.x: must be a keyword of metric_source stdout"),
        ({"metrics": {**STDOUT, "pattern": "("}}, "metrics.pattern: must be a regular expression"),
        ({"metrics": {**STDOUT, "pattern": "a"}}, "metrics.pattern: must have a group named as"),
        ({"metrics": {"from": "csv", "path": "log"}}, "metrics.path: must be another for each"),
        ({"metrics": {"from": "csv", "path": "{x}"}}, "metrics.path: must be a hyperparameter"),
        (
            {"metrics": {"from": "stdout", "pattern": "(?P<acuracy>x)"}},
            "metrics.pattern: must have a group named as the objective, (?P<accuracy>...)",
        ),
        (
            {"metrics": STDOUT, "objective": {"metric": "val/accuracy"}},
            "objective.metric: must be the name of a group of metrics.pattern: letters, digits",
        ),
        (
            {"command": "torchrun train.py", "resources": {"launcher": "torchrun"}},
            "resources.launcher: must not be given with a command that starts processes itself",
        ),
        ({"resources": {"processes": 2}}, "resources.processes: must come with resources.launch"),
        (
            {"resources": {"gpu": 0.5, "launcher": "torchrun"}},
            "resources.gpu: must be a whole number with a launcher",
        ),
        (
            {"resources": {"gpu": 1, "launcher": "torchrun", "processes": 2}},
            "resources.processes: must be at most the number of GPUs (1), but got 2",
        ),
        ({"launcher": "function"}, "launcher.name: must suit the other sections, as command does"),
    ],
)
def test_what_cannot(changes: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        check(draft_spec({**SPEC, **changes}, folder))
    assert any(str(each).startswith(message) for each in caught.value.problems), caught.value


def test_metrics_stand_beside_a_command_only(folder: Path) -> None:
    raw = {key: value for key, value in SPEC.items() if key != "command"}
    with pytest.raises(SpecError, match="metrics: must be given with command only"):
        check(draft_spec({**raw, "metrics": STDOUT}, folder))


REQUIRES = """
    import argparse
    parser = argparse.ArgumentParser()
    parser.add_argument("-d", "--data-dir", required=True)
    parser.add_argument("--lr", required=True)
    parser.add_argument("--model", required=MODEL)
    parser.parse_args()
"""


@pytest.mark.parametrize(
    ("command", "lacks"),
    [
        ("python train.py --data-dir data", ""),
        ("python train.py -d data", ""),
        ("python train.py --data=data", ""),
        ("python train.py", "--data-dir"),
        ("python train.py --l {lr}", "--data-dir"),
        ("python train.py {lr}", "--data-dir, --lr"),
    ],
)
def test_required_options_are_given(command: str, lacks: str, folder: Path) -> None:
    (folder / "train.py").write_text(dedent(REQUIRES))
    expected = f"command.run: must set the required arguments of train.py: {lacks}"
    assert problems({"command": command}, folder) == ([expected] if lacks else [])


@pytest.mark.parametrize(
    "script",
    [
        REQUIRES.replace("parse_args()", "parse_args(['--data-dir', 'data'])"),
        f"{REQUIRES}\n    other = argparse.ArgumentParser()",
        REQUIRES.replace("parser.parse_args", "parser.add_subparsers"),
        "import argparse (",
    ],
)
def test_options_that_may_not_be_required(script: str, folder: Path) -> None:
    (folder / "train.py").write_text(dedent(script))
    assert problems({"command": "python train.py"}, folder) == []


@pytest.mark.parametrize(
    ("arguments", "lacks"),
    [
        ("", "data.path"),
        ("data.path=data", ""),
        ("+data=csv", "data.rows"),
        ("--config-name other", ""),
    ],
)
def test_required_values_of_hydra_are_given(arguments: str, lacks: str, folder: Path) -> None:
    (folder / "conf" / "data").mkdir(parents=True)
    (folder / "conf" / "config.yaml").write_text("lr: ???\ndata:\n  path: ???\n")
    (folder / "conf" / "data" / "csv.yaml").write_text("path: x.csv\nrows: ???\n")
    script = """
        import hydra
        @hydra.main(version_base=None, config_path="conf", config_name="config")
        def main(config): ...
    """
    (folder / "train.py").write_text(dedent(script))
    command = {"run": f"python train.py {arguments}", "arguments": "hydra"}
    expected = f"command.run: must set the required arguments of train.py: {lacks}"
    assert problems({"command": command}, folder) == ([expected] if lacks else [])


def problems(changes: dict[str, Any], folder: Path) -> list[str]:
    try:
        check(draft_spec({**SPEC, **changes}, folder))
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []

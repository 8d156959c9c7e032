"""`hpsearch init`, and what `run --space` makes of a command."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.cli.scripts import name_of, spec_of_command
from hpsearch.errors import HpsearchError, SpecError
from hpsearch.first_spec import first_spec, to_yaml
from hpsearch.script_options import Option, read_options
from hpsearch.spec import SearchSpec, read_text
from hpsearch.validation import check
from tests.support.polling import wait_until

ARGPARSE = """
    import argparse, hpsearch
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save-dir", default="out")
    parser.add_argument("--no-cuda", action="store_true")
    parser.parse_args()
    hpsearch.report(epoch=1, train_loss=1.0, val_loss=0.5)
"""
HYDRA = """
    import hydra
    @hydra.main(version_base=None, config_path="conf", config_name="config")
    def main(config): ...
    main()
"""
#: prints its own help, as click and others do
TEXT = '''
    import sys
    print("""usage: train

      -b, --batch-size INTEGER  Rows of a step.  [default: 32]
      --lr FLOAT                The rate
                                (default: 0.5)
      --data PATH               The rows.  [required]
      --help                    Show this.""")
'''


def spec_of(script: str, folder: Path) -> SearchSpec:
    """Return the checked first spec of a script."""
    (folder / "train.py").write_text(dedent(script))
    text = to_yaml(first_spec(["python", "train.py"], folder), "first")
    return check(read_text(text, "search.yaml", folder))


def test_a_script_with_argparse(tmp_path: Path) -> None:
    spec = spec_of(ARGPARSE, tmp_path)
    words = " ".join(spec.command.run)
    assert "--batch-size {batch_size} --epochs {max_epochs} --lr {lr}" in words
    assert "--seed {seed} --save-dir {checkpoint_dir}" in words
    assert spec.max_epochs == 14
    assert spec.to_dict()["space"] == {
        "batch_size": {"choices": [16, 32, 64, 128, 256], "prior": 64},
        "lr": {"low": 0.0003, "high": 0.3, "log": True, "prior": 0.01},
        "optimizer": {"choices": ["sgd", "adam"], "prior": "sgd"},
    }
    assert (spec.objective.metric, spec.objective.direction) == ("val_loss", "minimize")


def test_what_the_command_says_stays(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(ARGPARSE))
    spec = first_spec(["python", "train.py", "--lr", "0.5", "--epochs=3"], tmp_path)
    assert "lr" not in spec.space
    assert "{max_epochs}" not in spec.words


def test_a_script_with_hydra(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(
        "optimizer: {name: sgd, lr: 0.01}\ntrainer: {max_epochs: 5}\ndropout: 0.1\n"
    )
    spec = spec_of(HYDRA, tmp_path)
    assert spec.command.arguments == "hydra"
    assert spec.command.run[-1] == "trainer.max_epochs={max_epochs}"
    assert spec.to_dict()["space"] == {
        "optimizer": {"lr": {"low": 0.0003, "high": 0.3, "log": True, "prior": 0.01}},
        "dropout": {"low": 0.0, "high": 0.6, "prior": 0.1},
    }


def test_keys_of_a_hydra_config_are_named_in_full(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(
        "model: {name: resnet, width: 64, init: '???'}\ndata: {name: '???', root: data}\n"
    )
    (tmp_path / "train.py").write_text(dedent(HYDRA))
    spec = first_spec(["python", "train.py"], tmp_path)
    assert spec.searched == ["model.width"]
    assert [option.word for option in spec.others] == ["model.name", "data.root"]
    assert [option.word for option in spec.required] == ["model.init", "data.name"]


def test_a_script_with_a_help_text(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(TEXT))
    options, is_hydra = read_options(["python", "train.py"], tmp_path)
    required = Option("--data", is_required=True)
    assert options == [Option("--batch-size", 32), Option("--lr", 0.5), required]
    assert not is_hydra


def test_what_a_script_requires_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("corpus")
        parser.add_argument("target")
        parser.add_argument("--lr", type=float, required=True)
        parser.add_argument("-d", "--data-dir", required=True)
        parser.add_argument("--run-name", required=True)
        parser.parse_args()
    """
    (tmp_path / "train.py").write_text(dedent(script))
    monkeypatch.chdir(tmp_path)
    words = ["python", "train.py", "text.txt", "-d", "data"]
    result = CliRunner().invoke(app, ["init", "--", *words])
    assert "warning: the script requires <target>, --run-name: add it" in result.output
    assert "--lr {lr}" in " ".join(yaml.safe_load(Path("search.yaml").read_text())["command"])
    assert "# the script requires, too: <target>, --run-name" in Path("search.yaml").read_text()


def test_what_a_hydra_config_requires_is_said(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("lr: ???\ndata:\n  path: ???\n")
    (tmp_path / "train.py").write_text(dedent(HYDRA))
    spec = first_spec(["python", "train.py"], tmp_path)
    assert [option.word for option in spec.required] == ["data.path"]
    assert spec.space["lr"]["log"]


def has_ended(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_a_script_that_ignores_help_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
        import pathlib, subprocess, sys
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        pathlib.Path("pid").write_text(str(subprocess.Popen(command).pid))
        import time
        time.sleep(600)
    """
    (tmp_path / "train.py").write_text(dedent(script))
    monkeypatch.setattr("hpsearch.script_options.TIMEOUT_S", 3.0)
    with pytest.raises(HpsearchError, match="ran for 3 s and was stopped; does it ignore --help"):
        first_spec(["python", "train.py"], tmp_path)
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(child))


def test_a_script_that_fails(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import missing_module")
    with pytest.raises(HpsearchError, match="print the script's options: ModuleNotFoundError"):
        first_spec(["python", "train.py"], tmp_path)


def test_reading_options_does_not_train(tmp_path: Path) -> None:
    script = f"{dedent(ARGPARSE)}\nopen('trained', 'w')"
    (tmp_path / "train.py").write_text(script)
    first_spec(["python", "train.py"], tmp_path)
    assert os.listdir(tmp_path) == ["train.py"]


@pytest.mark.parametrize(
    ("document", "metric", "expected"),
    [
        (
            {"lr": {"low": 0, "high": 1}},
            "acc",
            {
                "space": {"lr": {"low": 0, "high": 1}},
                "objective": {"metric": "acc", "direction": "maximize"},
            },
        ),
        (
            {"space": {"lr": 1}, "objective": {"metric": "loss"}, "name": "mine"},
            None,
            {"space": {"lr": 1}, "objective": {"metric": "loss"}, "name": "mine"},
        ),
    ],
)
def test_a_command_and_its_space(
    document: dict[str, Any], metric: str | None, expected: dict[str, Any]
) -> None:
    words = ["python", "train.py"]
    spec = spec_of_command(words, document, metric, None)
    assert spec == {"name": "train", "command": {"run": words}, **expected}


def test_the_metric_of_a_command_is_what_its_script_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(dedent(ARGPARSE))
    words = ["python", "train.py"]
    spec = spec_of_command(words, {"lr": 1}, None, None)
    assert spec["objective"] == {"metric": "val_loss", "direction": "minimize"}
    spec = spec_of_command(words, {"lr": 1}, None, "maximize")
    assert spec["objective"] == {"metric": "val_loss", "direction": "maximize"}


def test_a_command_needs_a_metric() -> None:
    with pytest.raises(SpecError, match="--metric: must name the metric"):
        spec_of_command(["python", "train.py"], {"lr": 1}, None, None)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "src/train.py"], "train"),
        (["python", "-m", "pkg.train"], "pkg.train"),
        (["./my train.sh"], "my-train.sh"),
    ],
)
def test_a_search_is_named_by_its_script(words: list[str], name: str) -> None:
    assert name_of(words) == name


def test_yaml_keeps_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(ARGPARSE))
    text = to_yaml(first_spec(["python", "train.py"], tmp_path), "first")
    assert yaml.safe_load(text)["name"] == "first"
    assert "# ranges to review; not searched: --no-cuda" in text


def test_a_spec_without_a_known_option_says_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import argparse; argparse.ArgumentParser().parse_args()")
    text = to_yaml(first_spec(["python", "train.py"], tmp_path), "first")
    assert "# nothing was recognised: add what to search, such as lr: {low: " in text


@pytest.mark.parametrize(
    ("option", "space"),
    [
        ('"--dropout", action="store_true"', {}),
        (
            '"--lr", type=float, default=0.1, choices=[0.1, 0.2]',
            {"lr": {"choices": [0.1, 0.2], "prior": 0.1}},
        ),
        ('"--layers", type=int, default=3', {"layers": {"low": 1, "high": 6, "prior": 3}}),
        ('"--dropout", type=float', {"dropout": {"low": 0.0, "high": 0.6}}),
        ('"--width", type=float, default=0.25', {}),
        ('"--optimizer.lr", type=float, default=1.0', {"optimizer": {"lr": "a range"}}),
    ],
)
def test_an_option_is_searched_by_what_it_takes(
    option: str, space: dict[str, Any], tmp_path: Path
) -> None:
    script = "import argparse; p = argparse.ArgumentParser(); "
    script += f"p.add_argument({option}); p.parse_args()"
    (tmp_path / "train.py").write_text(script)
    found = first_spec(["python", "train.py"], tmp_path).space
    if "optimizer" in found:
        found["optimizer"]["lr"] = "a range"
    assert found == space


def test_braces_of_the_command_stay(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(ARGPARSE).replace("--no-cuda", "--config"))
    words = first_spec(["python", "train.py", "--config", "{a}"], tmp_path).words
    assert words[:4] == ["python", "train.py", "--config", "{{a}}"]


def test_a_space_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("lr: {low: 0.1")
    arguments = ["run", "--space", str(tmp_path / "space.yaml"), "--metric", "x", "--", "true"]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, SpecError)
    assert "space.yaml: must be YAML" in str(error)

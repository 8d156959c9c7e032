"""Wrong options and arguments are told as all other errors are."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from hpsearch.cli import main
from hpsearch.spec.documents import dump_yaml
from tests.support.specs import changed


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str) -> str:
    """Return what a command line prints to standard error, and expects the status 2."""
    monkeypatch.setattr(sys, "argv", ["hpsearch", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    return capsys.readouterr().err.strip()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("extend a --trials foo", "--trials: must be a whole number, but got 'foo'"),
        ("extend a --trials 1.5", "--trials: must be a whole number, but got '1.5'"),
        ("trial extend a 1 --to 0", "--to: must be at least 1, but got '0'"),
        ("logs a --trial x", "--trial: must be a whole number, but got 'x'"),
        ("narrow a x --low q", "--low: must be a number, but got 'q'"),
        ("best a --output foo", "--output: must be one of 'spec', 'json', but got 'foo'"),
        ("extend", "NAME: must be given"),
        ("trial extend a 1", "--to: must be given"),
        ("extend a --trails 3", "must be an option of hpsearch extend; did you mean '--trials'?"),
        ("nocommand", "no such command 'nocommand'"),
    ],
)
def test_place_rule_and_value_are_told(
    words: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = told(monkeypatch, capsys, words)
    assert text.startswith("error: ") and message in text
    assert "--help`" in text and "\n" not in text


def test_programs_get_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = json.loads(told(monkeypatch, capsys, "extend a --trials foo --json"))["error"]
    [problem] = error["problems"]
    assert (problem["place"], problem["value"]) == ("--trials", "foo")
    assert problem["rule"] == "must be a whole number"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run own.yaml --set search.trials", "--set: must be path=value, but got 'search.trials'"),
        ("run own.yaml --set search.trials=0", "search.trials: must be greater than or equal"),
        ("run own.yaml --set serach.trials=8", "serach: must be a known key"),
        ("run own.yaml --set search.trials.x=8", "--set: search.trials.x must lead through"),
        ("run own.yaml --name a/b", "name: must match pattern"),
        ("run none.yaml", "none.yaml"),
    ],
)
def test_what_is_wrong_with_settings_is_told_before_ray_is_spoken_of(
    words: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(dump_yaml(changed(search={"trials": 4})))
    monkeypatch.setattr(sys, "argv", ["hpsearch", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    out, error = capsys.readouterr()
    assert out == "" and message in error


def test_it_is_called_hpsearch_however_it_was_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As by `python -m pytest`, whose name a command line took for its own."""
    package = types.ModuleType("__main__")
    package.__file__ = "__main__.py"
    package.__package__ = "some.package"
    monkeypatch.setitem(sys.modules, "__main__", package)
    assert told(monkeypatch, capsys, "extend").endswith("see `hpsearch extend --help`")


def test_a_group_without_a_command_shows_its_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hpsearch", "trial"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2 and "error" not in printed.err
    assert "Train a trial on" in printed.out + printed.err

"""Wrong options and arguments are told as all other errors are."""

from __future__ import annotations

import json
import sys

import pytest

from hpsearch.cli import main


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


def test_a_group_without_a_command_shows_its_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["hpsearch", "trial"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2 and "error" not in printed.err
    assert "Train a trial on" in printed.out + printed.err

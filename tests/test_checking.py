"""The check of a spec at its submission, of hostile ones too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hpsearch.errors import SpecError
from hpsearch.service.checking import check_submission
from hpsearch.spec import load_yaml, read_text
from hpsearch.spec.units import parse_duration, parse_size
from hpsearch.validation import check
from tests.breaking import TRAIN
from tests.test_cli import FIVE_MISTAKES

SPEC = """
name: mine
objective: {metric: score}
trainable: train.py:train
space: {x: {low: 0.0, high: 1.0}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def test_a_good_spec_comes_back_resolved(folder: Path) -> None:
    spec = check_submission(SPEC, folder)
    assert spec["name"] == "mine"
    assert spec["search"]["early_stopping"]["name"] == "asha"


def test_mistakes_are_told_as_validate_does(folder: Path) -> None:
    with pytest.raises(SpecError) as told:
        check_submission(FIVE_MISTAKES, folder)
    with pytest.raises(SpecError) as validated:
        check(read_text(FIVE_MISTAKES, "spec", folder))
    assert str(told.value) == str(validated.value)
    assert len(told.value.problems) >= 5


def test_user_code_sees_nothing_of_the_services_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    spy = f"import os\nopen({str(folder / 'seen')!r}, 'w').write(repr(dict(os.environ)))\n"
    (folder / "train.py").write_text(spy + TRAIN)
    check_submission(SPEC, folder)
    seen = (folder / "seen").read_text()
    assert "PATH" in seen
    assert "secret" not in seen


def test_user_code_that_ends_the_process_is_one_problem(folder: Path) -> None:
    (folder / "train.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(SpecError, match="ended the check's process, but got 'status 7'"):
        check_submission(SPEC, folder)


def test_a_spec_reaches_nothing_outside(folder: Path) -> None:
    lines = """
tracking_uri: sqlite:////tmp/x.db
storage: postgresql://elsewhere/x
trainable: ../../other/train.py:train
model: {name: "/etc/model.py:make"}
dataset: {name: csv, path: ../../secret.csv, target: x}
search: {warm_start: [../../x]}
"""
    kept = [line for line in SPEC.splitlines() if not line.startswith("trainable")]
    with pytest.raises(SpecError) as told:
        check_submission("\n".join(kept) + lines, folder)
    places = {problem.path for problem in told.value.problems}
    outside = {"trainable", "model.name", "dataset.path", "search.warm_start.0"}
    assert {"tracking_uri", "storage"} | outside <= places


def test_shared_data_may_be_read(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "table.csv").write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(100)))
    text = f"""
name: shared
objective: {{metric: val_accuracy}}
dataset: {{name: csv, path: {data / "table.csv"}, target: y}}
model: mlp
optimizer: {{name: sgd, lr: {{low: 0.01, high: 0.1}}}}
"""
    assert check_submission(text, folder, [data])["name"] == "shared"
    with pytest.raises(SpecError, match="must be a file inside the uploaded folder"):
        check_submission(text, folder)


BILLION = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BILLION, "at most 20,000 values"),
        ("[" * 3000 + "]" * 3000, "nested at most 50 deep"),
        ("{a: " * 3000 + "}" * 3000, "nested at most 50 deep"),
        ("name: " + "x" * 300_000, "at most 256,000 characters"),
        ("name: " + "x" * 200_000, "a text must have at most 20,000 characters .at line 1"),
        ("x: [" + "1," * 20_000 + "]", "a list or mapping must have at most 2,000 entries"),
        ("".join(f"k{i}: 1\n" for i in range(20_000)), "at most 2,000 entries"),
        ("x: 1" + ":59" * 5_000, "a number must have at most 100 characters .at line 1; quote"),
        ("x: " + "9" * 5_000, "a number must have at most 100 characters"),
        (f"search: {{time_limit: {'9' * 16_000}s}}", "a number must have at most 100 characters"),
        ("name: !!python/object/apply:os.system ['true']", "must be YAML"),
        ("name: 2001-99-99", "must be YAML"),
        ("name: [", "must be YAML"),
        ("a: &a [*a]", "must be"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: a\nname: b", "comes twice"),
    ],
)
def test_hostile_yaml_is_one_clear_error(text: str, rule: str) -> None:
    began = time.process_time()
    with pytest.raises(SpecError, match=rule):
        check(read_text(text, "spec", "."))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("read", [parse_duration, parse_size])
@pytest.mark.parametrize("text", ["9" * 10**6, "1s" * 10**6 + "!", " " * 10**6, "1.5" * 10**6])
def test_no_duration_or_size_takes_long_to_refuse(
    read: Callable[[object], object], text: str
) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="must be (seconds|bytes)"):
        read(text)
    assert time.process_time() - began < 1


def test_many_choices_that_differ_deep_inside_are_compared_in_linear_time() -> None:
    choices = [[[i]] for i in range(2_000)]
    text = yaml.safe_dump(
        {"name": "a", "objective": {"metric": "m"}, "space": {"x": {"choices": choices}}}
    )
    began = time.process_time()
    read_text(text, "spec", ".")
    assert time.process_time() - began < 5


def test_aliases_are_still_allowed() -> None:
    text = "a: &a {low: 0, high: 1}\nb: {<<: *a, log: true}\n"
    assert load_yaml(text)["b"] == {"low": 0, "high": 1, "log": True}


def test_the_check_leaves_no_files(folder: Path) -> None:
    check_submission(SPEC, folder)
    assert os.listdir(folder) == ["train.py"]

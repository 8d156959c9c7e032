"""Studies: paired searches of variants, and what is said of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hpsearch import studies
from hpsearch.analysis.blocks import Table
from hpsearch.analysis.comparison import Difference
from hpsearch.cli import app
from hpsearch.errors import RunsError, SpecError
from hpsearch.runs import Runs
from hpsearch.searches import run_search
from hpsearch.studies import Answer, answer_sections, cells, load_study, run_study
from tests.support.studies import GATES, write

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / studies.FOLDER).glob("*.yaml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_is_valid(path: Path) -> None:
    study = load_study(path)
    planned = cells(study.model_copy(update={"seeds": 1}))
    assert len(planned) == len(study.variants) * max(1, len(study.cases))
    assert study.question.endswith("?")


def test_a_pair_differs_by_its_variant_alone(tmp_path: Path) -> None:
    cases = {"and": {"dataset.gate": "and"}, "xor": {}}
    planned = cells(load_study(write(tmp_path, cases=cases)))
    assert [cell.spec.name for cell in planned[:5]] == [
        *("gates-and-linear-0", "gates-and-tanh-0", "gates-xor-linear-0", "gates-xor-tanh-0"),
        "gates-and-linear-1",
    ]
    one, other = (cell.spec.to_dict() for cell in planned[:2])
    assert (one.pop("name"), other.pop("name")) == ("gates-and-linear-0", "gates-and-tanh-0")
    activations = [each["model"].pop("activation") for each in (one, other)]
    assert activations == ["identity", "tanh"] and one == other
    assert [cell.spec.search.seed for cell in planned[3:5]] == [0, 1]
    gates = [cell.spec.to_dict()["dataset"]["gate"] for cell in planned[1:3]]
    assert gates == ["and", "xor"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"variant": {}}, "variant: must be a known key, but got 'variant'; did you mean"),
        ({"question": None}, "question: must be"),
        ({"seeds": 1}, "seeds: must be greater than or equal to 2, but got 1"),
        ({"variants": {"one": {}}}, "variants: "),
        (
            {"variants": {"a": {}, "b": {"model.activation": "tanhh"}}},
            "variants.b.model.activation: must be one of",
        ),
        (
            {"cases": {"c": {"dataset.gate": "nix"}}},
            "cases.c.dataset.gate: must be",
        ),
        (
            {"variants": {"a": {}, "b": {"objective.metric": "val_loss"}}},
            "variants.b.objective.metric: must not be changed: searches are compared by it, but",
        ),
        (
            {"cases": {"c": {"objective": {"metric": "val_loss"}}}},
            "cases.c.objective: must not be changed",
        ),
        ({"spec": {**GATES["spec"], "name": "x"}}, "spec.name: must not be given: the study sets"),
        ({"spec": {**GATES["spec"], "search": {"seed": 3}}}, "spec.search.seed: must not be"),
        (
            {"spec": {**GATES["spec"], "objectives": [{"metric": "val_loss"}]}},
            "spec.objectives: must not be given: a study compares by one objective",
        ),
        ({"variants": {"a": {"name": "x"}, "b": {}}}, "variants.a.name: must not be given"),
        ({"variants": {"a": {}, "b": {"search.seed": 1}}}, "variants.b.search.seed: must not be"),
        ({"variants": {"a": {}, "b": {}}}, "variants.b: must differ from the variant a, but got"),
        ({"variants": {"a": {}, "b": {"": 1}}}, "variants.b..[key]: must match pattern"),
        (
            {
                "cases": {"c": {}, "c-d": {}},
                "variants": {"d-e": {}, "e": {"model.activation": "tanh"}},
            },
            "cases: must not name its searches as c and d-e do, but got 'c-d and e'",
        ),
        ({"measure": "epochs"}, "measure: must be"),
        ({"measure": "epochs_to_target"}, "target: must be given with epochs_to_target"),
        ({"target": 0.5}, "target: must be left out, unless measure is epochs_to_target or"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        cells(load_study(write(tmp_path, **changes)))
    found = [str(each) for each in caught.value.problems]
    assert any(each.startswith(problem) for each in found), found


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"spec": {**GATES["spec"], "gradient_clip": -1}}, ["spec.gradient_clip"]),
        (
            {"cases": {"c": {"batch_size": 0}, "d": {}}, "variants": {"a": {}, "b": {"seed_": 1}}},
            ["cases.c.batch_size", "variants.b.seed_"],
        ),
        (
            {
                "cases": {"c": {"dataset.gate": "nand"}, "d": {}},
                "variants": {"a": {}, "b": {"batch_size": 0}},
            },
            ["variants.b.batch_size"],
        ),
    ],
    ids=["in all", "in a case", "in a variant"],
)
def test_an_error_is_said_once(tmp_path: Path, changes: dict[str, Any], places: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        cells(load_study(write(tmp_path, **changes)))
    assert [each.path for each in caught.value.problems] == places


def test_the_docs_have_a_row_for_each_study() -> None:
    text = (ROOT / "docs" / "studies.md").read_text()
    rows = re.findall(r"^\| `hpsearch study (\w+)` \| ([^|]*) \|", text, re.MULTILINE)
    assert rows == [(path.stem, load_study(path).question) for path in STUDIES]


def test_a_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load_study(STUDIES[0].stem).question == load_study(STUDIES[0]).question
    with pytest.raises(SpecError, match="study: must be a YAML file, or a study of search_spaces"):
        load_study("degradatoin")


def test_an_answer_has_a_line_for_each_case(tmp_path: Path) -> None:
    study = load_study(write(tmp_path))
    difference = Difference("linear", "tanh", -0.5, (-0.6, -0.4), 0.03)
    found = [Answer("xor", {"linear": [0.6, 0.8], "tanh": [0.1, 0.3]}, [difference])]
    (section,) = answer_sections(study, found)
    table, text = section.blocks
    assert section.title == study.question
    assert isinstance(table, Table)
    assert table.rows == (("xor", "linear", "0.7", "0.1414"), ("xor", "tanh", "0.2", "0.1414"))
    assert text == (
        "xor: `tanh` is better than `linear` by 0.5 (95 % interval -0.6 to -0.4, signed-rank test "
        "p = 0.03)."
    )


@pytest.mark.long
def test_a_study_goes_on_where_it_was_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, runs = load_study(write(tmp_path)), tmp_path / "runs"
    told: list[str] = []

    def stopped(*arguments: Any, **keywords: Any) -> Any:
        """Run a search that is asked to stop as it begins, as Ctrl-C and `hpsearch stop` do."""
        watch = lambda _, folder: folder.stop_request.touch()  # noqa: E731
        return run_search(*arguments, **keywords, on_start=watch)

    def stopping(cell: studies.Cell, number: int, planned: int) -> None:
        if number == 3:
            monkeypatch.setattr("hpsearch.studies.run.run_search", stopped)
        else:
            told.append(f"{cell.spec.name} {number}/{planned}")

    with pytest.raises(KeyboardInterrupt, match="gates-linear-1 was stopped: the same command"):
        run_study(study, runs, on_search=stopping, progress=False)
    monkeypatch.undo()
    found = run_study(
        study, runs, on_search=lambda cell, *_: told.append(cell.spec.name), progress=False
    )
    assert told == [
        *("gates-linear-0 1/4", "gates-tanh-0 2/4"),
        *("gates-linear-1", "gates-tanh-1"),
    ]
    (answer,) = found
    (difference,) = answer.differences
    pairs = zip(answer.values["linear"], answer.values["tanh"], strict=True)
    assert difference.mean == pytest.approx(sum(b - a for a, b in pairs) / 2)
    assert max(answer.values["tanh"]) < 0.3 < min(answer.values["linear"])
    written = json.loads((runs / studies.ANSWERS / "gates.json").read_text())
    assert written["answers"][0]["values"] == answer.values
    assert sorted(Runs(runs).names()) == sorted(cell.spec.name for cell in cells(study))
    words = ["study", str(tmp_path / "gates.yaml"), "--runs", str(runs)]
    printed = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert printed == written
    assert printed.keys() == {"question", "measure", "answers"}
    assert printed["answers"][0].keys() == {"case", "values", "differences"}
    shown = CliRunner().invoke(app, words).stdout
    assert study.question in shown and "tanh is better than linear by" in shown
    changed = study.model_copy(update={"spec": {**study.spec, "batch_size": 2}})
    with pytest.raises(
        RunsError, match="gates-linear-0 must be the study's, but its spec differs"
    ):
        run_study(changed, runs)

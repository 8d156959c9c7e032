"""What is told of a data set: by `hpsearch data`, in validation, at the start, in the report."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from hpsearch.analysis import SearchReport
from hpsearch.cli import app
from hpsearch.components import load_data, task_for
from hpsearch.components.datasets.describing import describe_data
from hpsearch.components.tasks import undefined_scores
from hpsearch.errors import SpecError
from hpsearch.live import LiveView, status_text
from hpsearch.outcome import Outcome
from hpsearch.record import DataNotes, Record, notes
from hpsearch.runs import Runs, SearchFolder
from hpsearch.searches import run_search
from hpsearch.validation import check_spec, data_notes
from tests.support.datasets import user_factory
from tests.support.specs import checked, spec_text

LONELY = ["a", "b"] * 40 + ["c"]


def write(folder: Path, **columns: Any) -> None:
    rng = np.random.default_rng(0)
    size = len(next(iter(columns.values())))
    pd.DataFrame({"x": rng.normal(size=size), **columns}).to_csv(folder / "t.csv", index=False)


def show(*arguments: str, folder: Path) -> tuple[int, str]:
    """Run a command in this process; returns its status and what it printed."""
    done = CliRunner().invoke(app, [arguments[0], str(folder / "s.yaml"), *arguments[1:]])
    error = "" if done.exception is None else str(done.exception)
    return done.exit_code, done.output + error


class TestCommand:
    @pytest.fixture(autouse=True)
    def wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hpsearch.cli.specs.console", Console(width=200, emoji=False))

    def test_shows_how_each_column_is_read(self, tmp_path: Path) -> None:
        stars = np.arange(60) % 5 + 1
        days = pd.date_range("2024-01-01", periods=60).astype(str)
        write(
            tmp_path, id=range(60), day=days, colour=["red", "blue"] * 30, g=[1, 2] * 30, y=stars
        )
        (tmp_path / "s.yaml").write_text(
            spec_text("val_r2", {"drop": "auto", "group": "g", "kind": "auto"})
        )
        status, text = show("data", folder=tmp_path)
        assert status == 0, text
        rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
        assert rows["x"][1:4] == ["number", "60", "0"]
        assert rows["id"][1:4] == ["dropped", "60", "0"]
        assert rows["day"][1:5] == ["date", "60", "0", "2024-01-01"]
        assert rows["colour"][1:5] == ["category", "2", "0", "red"]
        assert rows["g"][1] == "group"
        assert rows["y"][1:3] == ["target", "(regression)"]
        assert (
            "data: regression, because only regression reports the objective val_r2, and" in text
        )
        assert "warning: dataset: column 'id' numbers the rows from 0, and is left out" in text

    def test_names_what_is_in_doubt_and_ends_with_an_error(self, tmp_path: Path) -> None:
        write(tmp_path, a=["1,5", "2,5"] * 30, y=np.arange(60) % 5 + 1)
        (tmp_path / "s.yaml").write_text(spec_text("val_loss", {}))
        status, text = show("data", folder=tmp_path)
        assert status != 0
        assert "in doubt" in text and "`decimal: ','`" in text
        status, text = show("data", "--set", "dataset.categories=[a]", folder=tmp_path)
        assert status != 0
        assert "dataset.kind: must be given" in text
        assert "classification into 5 classes (1, 2, 3, 4, 5), or regression" in text
        status, text = show(
            "data", "--set", "dataset.categories=[a]", "--set", "dataset.kind=regression",
            folder=tmp_path,
        )  # fmt: skip
        assert status == 0, text

    def test_tells_of_data_although_the_rest_of_the_spec_is_wrong(self, tmp_path: Path) -> None:
        write(tmp_path, y=["a", "b"] * 30)
        (tmp_path / "s.yaml").write_text("dataset: {name: csv, path: t.csv, target: y}\n")
        status, text = show("data", folder=tmp_path)
        assert (status, "data: classification, because the targets are texts" in text) == (0, True)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("trainable: train.py:train\n", "dataset: must be given: what a training function"),
            ("dataset: {name: csv, path: t.csv}\n", "dataset.target: must be given"),
            ("dataset: {name: cvs}\n", "dataset.name: must be one of"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, spec: str, message: str) -> None:
        (tmp_path / "s.yaml").write_text(spec)
        status, text = show("data", folder=tmp_path)
        assert status != 0
        assert message in text


def test_the_command_needs_no_ray() -> None:
    spec = Path(__file__).parents[3] / "search_spaces" / "wine_mlp.yaml"
    code = (
        "import sys\nfrom hpsearch.cli import app\n"
        f"app(['data', {str(spec)!r}], standalone_mode=False)\nassert 'ray' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, "proline" in done.stdout) == (0, True), done.stderr


def test_describes_what_is_no_table(tmp_path: Path) -> None:
    wine = describe_data({"name": "wine"}, seed=0)
    assert [each.column for each in wine.columns][-2:] == ["proline", "y"]
    assert wine.learned == "classification, because the data set states it"
    digits = describe_data({"name": "digits"}, seed=0)
    assert [each.why for each in digits.columns][0] == "examples of 1 x 8 x 8 numbers"
    body = "d = torch.utils.data.TensorDataset(torch.rand(60, 4), torch.rand(60)); "
    name = user_factory(tmp_path, body + "return {'train': d, 'val': d}")
    assert describe_data({"name": name}, seed=0, folder=tmp_path).learned.startswith("regression")


class TestUndefined:
    @pytest.mark.parametrize("folds", [{}, {"folds": 3}])
    def test_a_score_that_a_split_does_not_allow_is_named_with_the_reason(
        self, tmp_path: Path, folds: dict[str, Any]
    ) -> None:
        write(tmp_path, y=LONELY)
        metrics = ["roc_auc", "recall_per_class", "mcc"]
        spec = checked(
            tmp_path,
            "val_accuracy",
            dataset=folds,
            task={"name": "classification", "metrics": metrics},
        )
        spec, data = check_spec(spec)
        assert data is not None
        found = data_notes(spec, data)
        assert {"val_roc_auc", "val_recall_2"} <= found.undefined.keys()
        assert not {"val_mcc", "val_recall_0"} & found.undefined.keys()
        why = found.undefined["val_roc_auc"]
        assert why == "the validation split has no row of class 'c' (1 in all)"
        assert "val_roc_auc" in found.metrics
        assert found.warnings[0].startswith(
            "dataset: 1 class with one row only, which not every split has"
        )

    def test_as_an_objective_it_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path, y=LONELY)
        task = {"name": "classification", "metrics": ["roc_auc"]}
        with pytest.raises(SpecError) as raised:
            checked(tmp_path, "val_roc_auc", task=task)
        assert str(raised.value) == (
            "objective.metric: must be defined for the data, but the validation split has no row "
            "of class 'c' (1 in all), but got 'val_roc_auc'"
        )

    def test_so_it_is_where_something_watches_it(self, tmp_path: Path) -> None:
        write(tmp_path, y=LONELY)
        with pytest.raises(SpecError, match="callbacks.*: must be defined for the data"):
            checked(
                tmp_path,
                "val_accuracy",
                task={"name": "classification", "metrics": ["roc_auc"]},
                callbacks=[{"name": "early_stopping", "metric": "val_roc_auc"}],
            )

    @pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
    def test_what_is_defined_is_not_named(self, tmp_path: Path, kind: Any) -> None:
        """With every metric of a kind, as the registry has them."""
        bodies = {
            "classification": "return np.random.rand(90, 3), np.arange(90) % 3",
            "multilabel": "return np.random.rand(90, 3), np.random.rand(90, 3) > 0.5",
            "regression": "return np.random.rand(90, 3), np.random.rand(90)",
        }
        section = {"name": user_factory(tmp_path, bodies[kind]), "kind": kind}
        data = load_data(section, seed=0, folder=tmp_path)
        names = {
            "classification": ["roc_auc", {"name": "roc_auc", "multi_class": "ovo"}, "f1", "ece",
                               "recall_per_class", "brier_skill", "brier_parts"],
            "multilabel": ["roc_auc", "brier"],
            "regression": ["mae", "rmse"],
        }  # fmt: skip
        task = task_for(data, {"name": kind, "metrics": names[kind]})
        assert undefined_scores(task, data) == {}

    def test_a_label_that_is_the_same_in_all_rows(self, tmp_path: Path) -> None:
        body = "y = np.random.rand(90, 2) > 0.5; y[:, 1] = True; return np.random.rand(90, 3), y"
        data = load_data({"name": user_factory(tmp_path, body)}, seed=0, folder=tmp_path)
        task = task_for(data, {"name": "multilabel", "metrics": ["roc_auc"]})
        assert undefined_scores(task, data) == {
            "val_roc_auc": "all rows of the validation split are alike in label '1'",
            "test_roc_auc": "all rows of the test split are alike in label '1'",
        }

    def test_a_metric_of_a_user_that_raises_is_left_to_the_trial(self, tmp_path: Path) -> None:
        code = (
            "from hpsearch.components.metrics import Metric\n\n\ndef make():\n"
            "    return Metric.single('mine', lambda seen: 1 / 0)\n"
        )
        (tmp_path / "my_metric_that_raises.py").write_text(code)
        data = load_data({"name": "wine"}, seed=0)
        section = {"name": "classification", "metrics": ["my_metric_that_raises.py:make"]}
        assert undefined_scores(task_for(data, section, tmp_path), data) == {}


@pytest.fixture
def noted(tmp_path: Path) -> tuple[Record, SearchFolder]:
    """A search of data that doesn't allow a metric, whose trial lacks another."""
    write(tmp_path, index=range(len(LONELY)), y=LONELY)
    task = {"name": "classification", "metrics": ["roc_auc", "mcc"]}
    spec, data = check_spec(checked(tmp_path, "val_accuracy", task=task))
    assert data is not None
    folder = Runs(tmp_path / "runs").create(spec)
    record = folder.open_record()
    record.set_data(data_notes(spec, data))
    record.add_trial({"optimizer.lr": 0.01})
    metrics = dict.fromkeys(record.data.metrics, 0.5)
    del metrics["val_roc_auc"], metrics["val_mcc"]
    record.report(0, 1, metrics)
    record.end_trial(0, Outcome.COMPLETED)
    return record, folder


TOLD = (
    "val_roc_auc: not reported, because the validation split has no row of class 'c' (1 in all)",
    "dataset: column 'index' numbers the rows from 0: `drop: ['index']`, or auto, leaves it out",
)


def test_the_record_keeps_what_is_known_of_the_data(noted: tuple[Record, SearchFolder]) -> None:
    record, folder = noted
    assert folder.open_record().data == record.data
    assert (
        record.data.description
        == "classification of 'y' into 3 classes, because the targets are texts"
    )
    assert set(TOLD) <= set(record.data.told)


def test_the_report_tells_it_and_which_metrics_are_missing(
    noted: tuple[Record, SearchFolder],
) -> None:
    report = SearchReport(noted[0])
    text = report.to_markdown()
    assert "The task is classification of 'y' into 3 classes, because the" in text
    assert "val_mcc: trial 0 doesn't have them at its last epoch" in text
    for told in TOLD:
        assert told in text
        shown = re.sub("`(.*?)`", r"<code>\1</code>", told.replace("'", "&#x27;"))
        assert shown in report.to_html()


def test_the_start_and_the_status_of_a_search_tell_it(noted: tuple[Record, SearchFolder]) -> None:
    record, folder = noted
    console = Console(width=500)
    with console.capture() as shown, LiveView(console) as view:
        view.watch(record, folder)
    first, *warnings = shown.get().splitlines()
    learned = "classification of 'y' into 3 classes, because the targets are texts"
    assert first == f"search a-search in {folder.path}: {learned}"
    status = status_text(record, width=500)
    assert f"data: {learned}" in status
    for told in TOLD:
        assert f"warning: {told}" in warnings
        assert f"warning: {told}" in status


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_notes_it_before_its_first_trial(tmp_path: Path) -> None:
    write(tmp_path, y=LONELY)
    task = {"name": "classification", "metrics": ["roc_auc"]}
    search = {"trials": 1, "early_stopping": {"name": "none", "max_epochs": 1}}
    spec = checked(tmp_path, "val_accuracy", task=task, search=search)
    seen: list[tuple[int, DataNotes]] = []

    def watch(record: Record, folder: SearchFolder) -> None:
        seen.append((len(record.trials), record.data))

    report = run_search(spec, tmp_path / "runs", on_start=watch)
    ((num_trials, known),) = seen
    assert num_trials == 0
    assert TOLD[0] in known.told
    assert report.best is not None and "val_roc_auc" not in report.best.curve[1]
    assert set(known.metrics) - set(known.undefined) == report.best.curve[1].keys()


@pytest.mark.parametrize(
    "plain", [None, [], "x", {"warnings": 3, "undefined": [1]}, {"metrics": {"a": 1}}]
)
def test_notes_of_another_shape_count_as_none(plain: Any) -> None:
    assert DataNotes.read(plain) == DataNotes()


def test_docstrings() -> None:
    assert doctest.testmod(notes).failed == 0

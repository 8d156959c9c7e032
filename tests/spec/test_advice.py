"""What is allowed in a spec, but seldom meant: told where a spec is checked, run and reported."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hpsearch.analysis import SearchReport
from hpsearch.live import LiveView
from hpsearch.record import Record
from hpsearch.runs import SearchFolder
from hpsearch.spec import SearchSpec, advice, draft_spec
from tests.support.specs import changed

WARNING = (
    "objective.metric: should be a validation metric: the best on training rows is the most "
    "overfitted, but got 'train_loss'; did you mean 'val_loss'?"
)
TRAIN_LOSS = {"objective": {"metric": "train_loss", "direction": "minimize"}}
#: a search of a user's training function
FUNCTION = {"name": "mine", "trainable": "train.py:train", "space": {"lr": 0.1}}


def spec_of(raw: dict[str, Any]) -> SearchSpec:
    draft = draft_spec(raw)
    assert draft.spec is not None, draft.problems
    return draft.spec


def told(raw: dict[str, Any]) -> list[str]:
    return list(map(str, advice(spec_of(raw))))


class TestSelu:
    """Of a net of SELU (Klambauer et al., 2017)."""

    def told(self, *, initializer: Any = "lecun_normal", **model: Any) -> list[str]:
        given = {"name": "mlp", "activation": "selu", **model}
        net = {key: value for key, value in given.items() if value is not None}
        found = told(changed(model=net, initializer=initializer))
        return [each.partition(": ")[0] for each in found]

    @pytest.mark.parametrize(
        ("keywords", "place"),
        [
            ({"norm": "batch"}, "model.norm"),
            ({"norm": {"name": "layer"}}, "model.norm"),
            ({"dropout": 0.2}, "model.dropout"),
            ({"dropout": {"choices": [0.1, 0.2]}}, "model.dropout"),
            ({"dropout": {"low": 0.0, "high": 0.5}}, "model.dropout"),
            ({"dropout": {"name": "standard"}}, "model.dropout"),
            ({"initializer": "he_normal"}, "initializer"),
            ({"initializer": "torch_default"}, "initializer"),
            ({"name": "snn", "activation": None, "initializer": "keras_default"}, "initializer"),
        ],
    )
    def test_what_it_can_not_do_with(self, keywords: dict[str, Any], place: str) -> None:
        assert self.told(**keywords) == [place]

    @pytest.mark.parametrize(
        "keywords",
        [
            {},
            {"norm": "none", "dropout": {"name": "alpha"}},
            {"dropout": {"choices": [0.0, 0.2]}},
            {"activation": "relu", "norm": "batch", "initializer": "he_normal"},
            {"activation": {"choices": ["selu", "relu"]}, "norm": "batch"},
            {"norm": {"choices": ["none", "batch"]}},
            {"initializer": {"choices": ["he_normal", "lecun_normal"]}},
            {"initializer": "lecun_uniform"},
            {"name": "snn", "activation": None, "initializer": "torch_default"},
        ],
    )
    def test_what_it_can(self, keywords: dict[str, Any]) -> None:
        assert self.told(**keywords) == []

    def test_of_several_models_each_has_its_own(self) -> None:
        nets = [{"name": "mlp", "activation": "selu", "norm": "batch"}, {"name": "mlp"}]
        (found,) = told(changed(model={"choices": nets}, initializer="he_normal"))
        assert found.startswith("model.choices.0.norm: should be none with selu, which normal")


class TestObjective:
    def test_of_a_stream_is_taken(self) -> None:
        """Its rows are predicted before they are trained on."""
        task = {"name": "classification", "in_order": True}
        assert told(changed(**TRAIN_LOSS, task=task)) == []
        assert told(changed(**TRAIN_LOSS, task={**task, "in_order": False})) == [WARNING]

    @pytest.mark.parametrize("raw", [changed(**TRAIN_LOSS), FUNCTION | TRAIN_LOSS])
    def test_of_training_rows_is_warned_of(self, raw: dict[str, Any]) -> None:
        assert told(raw) == [WARNING]

    @pytest.mark.parametrize("metric", ["val_loss", "val_accuracy", "grad_norm", "score"])
    def test_others_are_not(self, metric: str) -> None:
        objective = {"metric": metric, "direction": "minimize"}
        assert told(FUNCTION | {"objective": objective}) == []

    def test_a_loss_without_a_direction_is_warned_of(self) -> None:
        assert told(FUNCTION | {"objective": {"metric": "val_loss"}}) == [
            "objective.direction: should be minimize for val_loss: maximize selects its "
            "highest value, but got 'maximize'"
        ]

    @pytest.mark.parametrize("metric", ["val_accuracy", "score", "neg_mse"])
    def test_what_may_be_maximized_is_not(self, metric: str) -> None:
        assert told(FUNCTION | {"objective": {"metric": metric}}) == []


@pytest.mark.parametrize(
    ("callbacks", "place"),
    [
        ([{"name": "early_stopping", "metric": "train_loss"}], "callbacks.0.metric"),
        ([{"name": "mine.py:stop", "metric": "train_loss"}], "callbacks.0.metric"),
        (
            {"choices": [[], [{"name": "early_stopping", "metric": {"choices": ["train_loss"]}}]]},
            "callbacks.choices.1.0.metric.choices.0",
        ),
    ],
)
def test_epochs_kept_by_a_training_metric_are_warned_of(callbacks: Any, place: str) -> None:
    (one,) = told(changed(callbacks=callbacks))
    assert one.startswith(f"{place}: should be a validation metric")
    assert one.endswith("did you mean 'val_loss'?")


def test_a_plateau_of_the_training_loss_is_none_of_it() -> None:
    schedule = {"name": "plateau", "metric": "train_loss"}
    assert told(changed(lr_schedule=schedule, callbacks=["early_stopping"])) == []


class TestShown:
    @pytest.fixture
    def record(self, tmp_path: Path) -> Record:
        return Record.create(tmp_path / "record.journal", spec_of(FUNCTION | TRAIN_LOSS))

    def test_by_validate(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from hpsearch.cli.specs import validate

        path = tmp_path / "spec.yaml"
        path.write_text(spec_of(changed()).to_yaml())
        validate(path, ["objective.metric=train_loss"])
        assert f"warning: {WARNING}\n" in capsys.readouterr().out
        validate(path, [])
        assert "warning" not in capsys.readouterr().out

    def test_where_a_search_begins(self, record: Record, tmp_path: Path) -> None:
        output = io.StringIO()
        with LiveView(Console(file=output, width=40)) as view:
            view.watch(record, SearchFolder(tmp_path))
        assert output.getvalue().splitlines()[1] == f"warning: {WARNING}"

    def test_in_the_report(self, record: Record) -> None:
        report = SearchReport(record)
        assert f"Warning: {WARNING}" in report.to_markdown()
        assert "should be a validation metric" in report.to_html()

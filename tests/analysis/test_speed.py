"""How soon a search came to a value, and how fast its trials train, on records that are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.analysis import SearchReport
from hpsearch.analysis.comparison import comparison_sections, shared_targets
from hpsearch.analysis.speed import Reached, reached, rows_per_second, speed_columns
from hpsearch.components import load_data
from hpsearch.record import DataNotes, Record
from hpsearch.validation.notes import data_notes
from tests.support.records import add, make_spec
from tests.support.specs import make_spec as make_model_spec


def record_of(path: Path, *curves: list[float], direction: str = "maximize") -> Record:
    """Trials one after another: an epoch takes two seconds, a driver began at second 1000."""
    spec = make_spec(direction=direction)
    record = Record.create(path, spec)
    record.sessions = [[1000.0, None]]
    for number, values in enumerate(curves):
        trial = add(record, values)
        trial.reported_at = {e: at + 100.0 * number for e, at in trial.reported_at.items()}
    return record


class TestReached:
    def test_the_first_epoch_of_any_trial_counts(self, tmp_path: Path) -> None:
        record = record_of(tmp_path / "r", [0.1, 0.2], [0.3, 0.6, 0.5], [0.9])
        assert reached(record, 0.5) == Reached(0.5, trial=1, epoch=2, epochs=4, seconds=104.0)
        assert reached(record, 0.95) == Reached(0.95)

    def test_at_the_target_is_enough_in_either_direction(self, tmp_path: Path) -> None:
        record = record_of(tmp_path / "r", [0.5, 0.2], direction="minimize")
        assert reached(record, 0.2).epoch == 2
        assert reached(record, 0.5).epoch == 1

    def test_time_without_a_driver_doesnt_count(self, tmp_path: Path) -> None:
        record = record_of(tmp_path / "r", [0.1], [0.9])
        record.sessions = [[1000.0, 1010.0], [1090.0, None]]
        assert reached(record, 0.9).seconds == 10.0 + 12.0


def test_a_report_has_the_targets_the_default_and_the_best(tmp_path: Path) -> None:
    record = record_of(tmp_path / "r", [0.1] * 9, [0.4] * 8 + [0.6])
    record.default = record.trials[0].params
    text = SearchReport(record, [0.3, 0.7]).to_markdown()
    assert "| target | ≥ 0.3 | 1 | 1 | 10 | 1 min 42 s |" in text
    assert "| target | ≥ 0.7 | not reached | – | – | – |" in text
    assert "| default configuration | ≥ 0.1 | 0 | 1 | 1 | 2 s |" in text
    assert "| best trial | ≥ 0.6 | 1 | 9 | 18 | 1 min 58 s |" in text


def test_searches_are_compared_at_a_value_that_all_came_to(tmp_path: Path) -> None:
    records = [record_of(tmp_path / "a", [0.5] * 9), record_of(tmp_path / "b", [0.9] * 9)]
    assert shared_targets(records) == [0.5]
    [times] = [s for s in comparison_sections(records, [], [0.6]) if s.title == "Time to target"]
    [table] = times.blocks
    assert [row[2] for row in table.rows] == ["not reached", "0"]  # type: ignore[union-attr]


class TestThroughput:
    def timed(self, path: Path, **values: object) -> Record:
        record = record_of(path, [0.1, 0.2, 0.3])
        record.data = DataNotes(rows=100)
        trial = record.trials[0]
        trial.values = dict(values)
        for epoch, seconds in enumerate((9.0, 2.0, 1.0), 1):
            trial.curve[epoch] |= {"seconds": seconds, "peak_memory_mb": 100.0 * epoch}
        return record

    def test_rows_over_the_median_time_of_an_epoch(self, tmp_path: Path) -> None:
        record = self.timed(tmp_path / "r")
        assert rows_per_second(record, record.trials[0]) == 50.0
        assert speed_columns(record, record.trials) == {
            "rows/s": ["50"],
            "`peak_memory_mb`": ["300"],
        }
        assert SearchReport(record).trials["rows_per_second"].tolist() == [50.0]

    @pytest.mark.parametrize(
        "values",
        [
            {"finetune": {"name": "subset", "fraction": 0.1}},
            {"lr_scaling": {"name": "sqrt", "regime_adaptation": True}},
            {"stages": [{"name": "pretrain"}]},
        ],
    )
    def test_unknown_where_an_epoch_isnt_one_pass(
        self, tmp_path: Path, values: dict[str, object]
    ) -> None:
        record = self.timed(tmp_path / "r", **values)
        assert rows_per_second(record, record.trials[0]) is None

    def test_code_of_ones_own_has_none(self, tmp_path: Path) -> None:
        record = record_of(tmp_path / "r", [0.5])
        assert speed_columns(record, record.trials) == {}

    @pytest.mark.parametrize(("split", "rows"), [({"val_fraction": 0.5}, 75), ({"folds": 3}, 300)])
    def test_the_record_has_the_rows_of_a_pass(
        self, tmp_path: Path, split: dict[str, object], rows: int
    ) -> None:
        dataset = {"name": "wine", "test_fraction": 28 / 178, **split}
        spec = make_model_spec(tmp_path, dataset=dataset)
        notes = data_notes(spec, load_data(spec.dataset, seed=0))
        assert notes.rows == rows
        assert DataNotes.read(notes.to_plain()) == notes

"""A search's tables as files, read back by pandas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from hpsearch.analysis import SearchReport
from hpsearch.analysis.export import TableFormat
from hpsearch.errors import SearchExistsError
from hpsearch.runs import Runs
from tests.support.cli import hpsearch
from tests.support.records import STOPPED, make_spec

SPACE = {"lr": {"low": 1e-4, "high": 1.0}, "width": {"choices": [64, "auto", None]}}
READERS = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A search of two trials, one stopped early, whose choices are of several types."""
    record = Runs(tmp_path / "runs").create(make_spec(SPACE)).take_over()
    record.add_trial({"lr": 0.5, "width": 64})
    record.report(0, 1, {"score": 0.25, "seconds": 1.0})
    record.report(0, 2, {"score": 0.5, "seconds": 1.0})
    record.end_trial(0, STOPPED)
    record.add_trial({"lr": 0.25, "width": "auto"})
    return tmp_path / "runs"


@pytest.mark.parametrize("form", list(READERS))
def test_tables_are_read_back_as_they_were(runs: Path, form: TableFormat) -> None:
    report = SearchReport(Runs(runs).search("demo").open_record())
    files = report.export(runs / "new" / "folder", form)
    assert [path.name for path in files] == [f"demo-trials.{form}", f"demo-curves.{form}"]
    trials, curves = (READERS[form](path) for path in files)
    assert list(trials.columns) == list(report.trials.columns)
    assert trials["outcome"].tolist() == ["stopped early", "running"]
    assert trials["width"].map(str).tolist() == ["64", "auto"]
    assert curves.to_numpy().tolist() == [[0, 1, 0.25, 1.0], [0, 2, 0.5, 1.0]]


def test_files_that_are_there_are_kept(runs: Path, tmp_path: Path) -> None:
    report = SearchReport(Runs(runs).search("demo").open_record())
    (tmp_path / "demo-curves.csv").write_text("mine")
    with pytest.raises(SearchExistsError, match=r"demo-curves.csv exists: .*\(--to\)"):
        report.export(tmp_path)
    assert not (tmp_path / "demo-trials.csv").exists()


@pytest.mark.usefixtures("runs")
def test_the_command_writes_one_format(tmp_path: Path) -> None:
    done = hpsearch("export", "demo", "--parquet", "--to", "tables", cwd=tmp_path)
    assert done.stdout.split() == ["tables/demo-trials.parquet", "tables/demo-curves.parquet"]
    assert len(pd.read_parquet(tmp_path / "tables/demo-curves.parquet")) == 2
    done = hpsearch("export", "demo", "--csv", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "export: give one of --csv, --parquet and --json" in done.stderr

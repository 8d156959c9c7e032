"""What was checked is what trials run, and the first epoch of it is tried, in real searches."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from hpsearch.errors import CodeChangedError, SearchFailedError
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.searches import resume_search, run_search
from hpsearch.spec import draft_spec
from hpsearch.validation import check
from tests.support.specs import make_spec

pytestmark = pytest.mark.usefixtures("ray_cluster")

#: is edited by its own first trial
TRAIN = """
from pathlib import Path
from edited_meanwhile_part import VALUE

def train(config, trial):
    for file in (Path(__file__), Path("edited_meanwhile_part.py")):
        file.write_text("VALUE = 2\\ndef train(config, trial): yield {'score': 2.0}\\n")
    yield {"score": VALUE}
"""


def test_files_that_are_edited_while_a_search_runs_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "edited_meanwhile.py").write_text(TRAIN)
    (tmp_path / "edited_meanwhile_part.py").write_text("VALUE = 1.0\n")
    spec = make_spec(
        tmp_path,
        objective={"metric": "score"},
        trainable="edited_meanwhile.py:train",
        space={"x": {"low": 0.0, "high": 1.0}},
        resources={"reuse": "never"},
        search={"trials": 2, "early_stopping": {"max_epochs": 1}},
    )
    report = run_search(spec, tmp_path / "runs")
    assert [trial.curve[1]["score"] for trial in report.record.trials] == [1.0, 1.0]
    copies = tmp_path / "runs" / "small" / "code"
    assert TRAIN in [file.read_text() for file in copies.rglob("*.py")]


#: needs a file in its first trial, and is edited by its second
SCRIPT = """
    import pathlib, hpsearch
    rows = pathlib.Path("rows.txt").read_text()
    hpsearch.report(epoch=0, score=1.0)
    if len(list(pathlib.Path().glob("trained-*"))):
        pathlib.Path(__file__).write_text("edited = True")
    pathlib.Path(f"trained-{hpsearch.checkpoint_dir().parent.name}").touch()
"""


def test_a_script_that_can_t_train_or_is_edited_ends_the_search_and_no_trial(
    tmp_path: Path,
) -> None:
    script, runs = tmp_path / "script.py", tmp_path / "runs"
    script.write_text(dedent(SCRIPT))
    raw = {
        "name": "script",
        "command": {"run": "python script.py {x}"},
        "space": {"x": {"low": 0.0, "high": 1.0}},
        "objective": {"metric": "score"},
        "search": {"trials": 3, "max_concurrent": 1, "early_stopping": {"max_epochs": 1}},
    }
    with pytest.raises(SearchFailedError, match="^command: the dry epoch of python script.py"):
        run_search(check(draft_spec(raw, tmp_path)), runs)
    record = Runs(runs).search("script").open_record()
    assert [(trial.outcome, len(trial.errors)) for trial in record.trials] == [(None, 1)]
    assert "FileNotFoundError" in str(record.reason)
    assert f"line 3 of {script}" in str(record.reason)

    (tmp_path / "rows.txt").touch()
    edited = r"^command: script\.py changed while the search runs; put it back"
    with pytest.raises(SearchFailedError, match=edited):
        resume_search("script", runs)
    with pytest.raises(CodeChangedError):
        resume_search("script", runs)

    script.write_text(dedent(SCRIPT))
    (tmp_path / "trained-trial-0000").unlink()
    (tmp_path / "trained-trial-0001").unlink()
    record = resume_search("script", runs).record
    assert [trial.outcome for trial in record.trials] == [Outcome.COMPLETED] * 3
    folder = Runs(runs).search("script")
    assert check_search(record, folder, Runs(runs).tracking_uri).problems == ()

"""A search whose trials are a script: early stopping, a kill, its checkpoints."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from hpsearch.cli.local import LocalSearches
from hpsearch.integrity.check import check_search
from hpsearch.outcome import Outcome
from hpsearch.runs import Runs
from hpsearch.searches import run_search
from hpsearch.spec import draft_spec
from hpsearch.validation import check

#: the first trial kills itself once, after its second epoch; one rate isn't a number, one fails
SCRIPT = """
    import argparse, os, pathlib, signal, hpsearch
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    saved = hpsearch.checkpoint_dir() / "epoch"
    first = int(saved.read_text()) if saved.exists() else 0
    print("starts at epoch", first)
    if options.rate == 0.7:
        raise ValueError("no such rate")
    killed = hpsearch.checkpoint_dir() / "killed"
    for epoch in range(first, options.epochs):
        saved.write_text(str(epoch + 1))
        accuracy = float("nan") if options.rate == 0.6 else options.rate + epoch
        hpsearch.report(epoch=epoch, accuracy=accuracy)
        if options.rate == 0.9 and epoch == 1 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("ray_cluster")
def test_a_script_is_searched(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(SCRIPT))
    rates = [0.9, 0.8, 0.1, 0.6, 0.7]
    raw = {
        "name": "script",
        "command": "python train.py --rate {rate} --epochs {max_epochs}",
        "space": {"rate": {"choices": rates}},
        "objective": {"metric": "accuracy"},
        "search": {
            "trials": 5,
            "max_concurrent": 1,
            "points": [{"rate": rate} for rate in rates],
            "early_stopping": {"name": "asha", "max_epochs": 9},
        },
    }
    run_search(check(draft_spec(raw, tmp_path)), tmp_path / "runs")
    folder = Runs(tmp_path / "runs").search("script")
    record = folder.open_record()
    assert record.state == "finished"

    outcomes = [trial.outcome for trial in record.trials]
    assert outcomes[0] is Outcome.COMPLETED
    assert outcomes[2:] == [Outcome.STOPPED_EARLY, Outcome.DIVERGED, Outcome.FAILED]
    curve = record.trials[0].metric("accuracy")
    assert curve == {epoch + 1: pytest.approx(0.9 + epoch) for epoch in range(9)}
    printed = (folder.outputs / "trial-0000.log").read_text()
    assert printed.count("starts at epoch") == 2
    assert "starts at epoch 2" in printed
    failed = record.trials[4].error
    assert (failed.type, failed.message) == ("ValueError", "no such rate")
    assert (Path(failed.file).name, failed.function) == ("train.py", "<module>")

    uri, _ = Runs(tmp_path / "runs").tracking_of(record.spec)
    assert check_search(record, folder, uri).problems == ()
    kept = [path.name for path in folder.checkpoints.iterdir()]
    assert kept == ["trial-0000"]
    target = LocalSearches(tmp_path / "runs").download("script", tmp_path)
    assert (target / "epoch").read_text() == "9"

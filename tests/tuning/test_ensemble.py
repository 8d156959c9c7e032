"""The mean of a search's best trials: which they are, what is kept, made, told and registered."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch

from hpsearch import driver, open_search, resume_search, run_search
from hpsearch.analysis import SearchReport
from hpsearch.analysis.plain import plain_best
from hpsearch.cli.local import LocalSearches
from hpsearch.components import load_data
from hpsearch.errors import HpsearchError, RecordError, SearchExistsError
from hpsearch.integrity.check import check_search
from hpsearch.live import status_text
from hpsearch.outcome import Outcome
from hpsearch.record import EnsembleNote, Record
from hpsearch.runs import Runs
from hpsearch.spec import Objective, Resources, TrialConfig, draft_spec
from hpsearch.training import make_trainer
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint
from hpsearch.training.ensembles import mean_metrics
from hpsearch.tuning.on_ray.final import Trained, average_models, train_final_model
from hpsearch.tuning.repeats import spec_of_repeats
from hpsearch.tuning.retention import Retention
from hpsearch.validation.disk import num_checkpoints
from tests.support import records
from tests.support.specs import make_spec

NOTE = EnsembleNote((2, 0), {"val_accuracy": 0.9, "val_loss": 0.3}, {"test_accuracy": 0.8})
NET = """
    from torch import nn

    def net(input_shape, output_size, width=8):
        first, last = nn.Linear(input_shape[0], width), nn.Linear(width, output_size)
        return nn.Sequential(first, nn.Tanh(), last)
"""


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A search of four completed trials, and one that was stopped early."""
    record = Record.create(tmp_path / "a.journal", make_spec(search={"ensemble": {"top": 2}}))
    for number, value in enumerate((0.7, 0.5, 0.8, 0.6, 0.9)):
        record.add_trial({**PARAMS, "model.dropout": 0.01 * number})
        record.report(number, 3, {"val_accuracy": value, "val_loss": 1 - value})
        is_whole = number < 4
        record.end_trial(number, Outcome.COMPLETED if is_whole else Outcome.STOPPED_EARLY)
    return record


def test_why_there_is_none(record: Record, tmp_path: Path) -> None:
    assert record.no_ensemble() == "has no ensemble yet: it is made once the search finishes"
    record.end("finished")  # as a driver does that dies before it is made
    assert record.no_ensemble().startswith("has no ensemble yet: `hpsearch resume` makes it")
    few = Record.create(tmp_path / "b.journal", make_spec(search={"ensemble": {"top": 2}}))
    few.add_trial({**PARAMS, "model.dropout": 0.1})
    few.report(0, 3, {"val_accuracy": 0.7})
    few.end_trial(0, Outcome.COMPLETED)
    few.end("finished")
    assert few.no_ensemble() == "has no ensemble: fewer than two trials were trained in full"


PARAMS = {"optimizer": "adam", "optimizer.adam.lr": 0.01, "batch_size": 32}


def test_members_are_the_best_that_completed_and_kept(record: Record, tmp_path: Path) -> None:
    assert [trial.number for trial in record.members()] == [2, 0]
    for number in range(5):
        CheckpointStore(tmp_path / "checkpoints", number).save(3, {"epoch": 3})
    Retention(record, tmp_path / "checkpoints")
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {"trial-0000", "trial-0002"}
    plain = make_spec()
    assert num_checkpoints(record.spec, 1) == num_checkpoints(plain, 1) + 1
    assert spec_of_repeats(record.spec).search.ensemble is None


def test_without_the_option_nothing_is_averaged(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "a.journal", make_spec())
    assert record.members() == []
    assert record.ensemble is None


def test_more_budget_makes_another(record: Record) -> None:
    record.set_ensemble(NOTE)
    record.end("finished")
    again = Record.reopen(record.place, record.name)
    assert again.ensemble == NOTE
    again.go_on(again.spec)
    assert again.ensemble == NOTE, "it was resumed for its report alone"
    again.go_on(again.spec.extended(trials=1))
    assert Record.open(record.place, record.name).ensemble is None


@pytest.mark.parametrize("trials", [(2, 9), (-1, 2), (), (0,) * 200])
def test_a_note_that_no_driver_wrote_is_refused(record: Record, trials: tuple[int, ...]) -> None:
    record.set_ensemble(EnsembleNote(trials, {}, {}))
    with pytest.raises(RecordError, match="ensemble"):
        Record.open(record.place, record.name)


def test_it_is_told_beside_the_best_trial(record: Record) -> None:
    record.set_ensemble(NOTE)
    record.set_result(test_metrics={"test_accuracy": 0.75})
    record.end("finished")
    told = "mean of trials 2, 0: val_accuracy 0.9 (best trial 0.8), test_accuracy 0.8 (best trial"
    assert told in " ".join(status_text(record).split())
    text = SearchReport(record).to_markdown()
    assert "| metric | mean of 2 trials | trial 2 |" in text
    assert "| `val_loss` | 0.3 | 0.2 |" in text
    assert "| `test_accuracy` | 0.8 | 0.75 |" in text
    assert "`models:/small@ensemble`" in text
    plain = plain_best(record)
    assert plain is not None
    assert plain["ensemble"] == NOTE.to_plain()


def test_of_a_single_trial_there_is_none(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "a.journal", make_spec(search={"ensemble": {"top": 2}}))
    record.add_trial({**PARAMS, "model.dropout": 0.1})
    record.report(0, 3, {"val_accuracy": 0.5})
    record.end_trial(0, Outcome.COMPLETED)
    assert "ensemble" not in status_text(record)
    record.end("finished")
    told = "none: fewer than two trials were trained in full"
    assert f"ensemble {told}" in " ".join(status_text(record).split())
    assert f"There is {told}." in SearchReport(record).to_markdown()


def test_a_selection_of_one_is_no_mean(record: Record) -> None:
    record.set_ensemble(EnsembleNote((2,), {"val_accuracy": 0.8}, {}))
    record.end("finished")
    told = "ensemble trial 2 alone, which no other makes better: val_accuracy 0.8 (best trial 0.8)"
    assert told in " ".join(status_text(record).split())
    text = SearchReport(record).to_markdown()
    rule = (
        "No other trial makes the mean better than trial 2 alone, which is registered as `models:/"
    )
    assert rule in text
    assert "in place of one" not in text


def test_trials_that_count_several_times_are_told_once(record: Record) -> None:
    note = EnsembleNote.of({2: 3, 0: 1, 1: 2}, {"val_accuracy": 0.9}, {})
    record.set_ensemble(note)
    again = Record.open(record.place, record.name)
    assert again.ensemble == note
    assert note.trials == (2, 2, 2, 0, 1, 1)
    text = SearchReport(again).to_markdown()
    assert "of trials 2 (3 times), 0, 1 (twice) is registered" in text
    assert "A prediction takes 3 models" in text


@pytest.mark.parametrize(("top", "rule"), [(1, "greater than or equal to 2"), (101, "less than")])
def test_how_many_there_may_be(top: int, rule: str) -> None:
    raw = records.make_spec().to_dict()
    raw["search"] |= {"ensemble": {"top": top}}
    [problem] = draft_spec(raw).problems
    assert str(problem).startswith(f"search.ensemble.top: must be {rule}")


def test_of_folds_it_is_the_mean_of_refits(tmp_path: Path) -> None:
    data = load_data({"name": "wine", "folds": 2, "test_fraction": 0.2}, seed=0)
    trials, trainers = [], []
    for number, width in enumerate((4, 8)):
        values = {
            "model": {"name": "mlp", "hidden_sizes": [width]},
            "optimizer": {"name": "adam", "lr": 0.01},
            "batch_size": 16,
        }
        config = TrialConfig(number, 0, 2, values, folder=str(tmp_path))
        trainer = make_trainer(config, data)
        for _ in range(2):
            trainer.train_epoch()
        trainers.append(trainer)
        state = {"trainer": trainer.state_dict()}
        trials.append(Trained(config, CheckpointStore(tmp_path, number).save(2, state)))
    made = average_models(trials, data, Resources())
    assert made.counts == {0: 1, 1: 1}
    alone = [train_final_model(trial, data, Resources()) for trial in trials]
    raw = torch.from_numpy(made.example.to_numpy("float32", copy=True))
    with torch.no_grad():
        mean = torch.stack([each.module(raw).softmax(1) for each in alone]).mean(0)
        torch.testing.assert_close(made.module(raw).softmax(1), mean, rtol=1e-4, atol=1e-5)
    assert made.metrics.keys() == {"val_loss", "val_accuracy"}
    assert made.test_metrics is not None
    assert made.test_metrics.keys() == {"test_loss", "test_accuracy"}
    least_loss = Objective(metric="val_loss", direction="minimize")
    greedy = average_models(trials, data, Resources(), least_loss)
    best = min(mean_metrics(trainer.trainers)["val_loss"] for trainer in trainers)
    assert greedy.metrics["val_loss"] <= min(best, made.metrics["val_loss"]) + 1e-6


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, ray_cluster: object
) -> tuple[Path, list[Any]]:
    """A search of models of the user's and of hpsearch's, in shared programs, whose first driver
    dies before the ensemble; returns its runs folder and the trials that it had."""
    folder = tmp_path_factory.mktemp("averaged")
    (folder / "net.py").write_text(textwrap.dedent(NET))
    choices = [
        {"name": "net.py:net", "width": 6},
        {"name": "mlp", "hidden_sizes": [12]},
    ]
    spec = make_spec(
        folder,
        dataset={"name": "wine", "test_fraction": 0.2},
        model={"choices": choices},
        optimizer={"name": "adam", "lr": {"low": 1e-3, "high": 1e-1, "log": True}},
        batch_size=16,
        fuse=4,
        search={
            "trials": 8,
            "max_concurrent": 8,
            "sampler": "random",
            "early_stopping": {"name": "none", "max_epochs": 4},
            "ensemble": {"top": 3},
        },
    )

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(driver, "average_models", dies)
        run_search(spec, folder / "runs", progress=False)
    record = Runs(folder / "runs").search("small").open_record()
    assert (record.state, record.delivered, record.ensemble) == ("finished", False, None)
    trials = list(record.trials)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(driver, "average_models", lambda *_: 1 // 0)
        patch.setattr("hpsearch.analysis.write_report", lambda *_: int("no report"))
        resume_search("small", folder / "runs", progress=False)
    record = Runs(folder / "runs").search("small").open_record()
    assert not record.delivered
    client = mlflow.MlflowClient(Runs(folder / "runs").tracking_uri)
    assert client.get_registered_model("small").aliases.keys() == {"best"}, "it isn't lost"
    resume_search("small", folder / "runs", progress=False)
    return folder / "runs", trials


def test_a_driver_that_dies_before_it_leaves_it_to_the_next(
    finished: tuple[Path, list[Any]],
) -> None:
    runs, before = finished
    found = open_search("small", runs)
    record = found.record
    assert record.trials == before, "nothing was trained again"
    assert record.lanes.num_fused > 0
    assert record.delivered
    assert found.ensemble is not None
    assert list(found.ensemble.trials) == [trial.number for trial in record.ranked()[:3]]
    assert found.best is not None
    assert found.best.number == record.ranked()[0].number
    kept = {path.name for path in (runs / "small" / "checkpoints").iterdir()}
    assert kept == {f"trial-{number:04d}" for number in found.ensemble.trials}
    place = Runs(runs)
    assert not check_search(record, place.search("small"), place.tracking_uri).problems


def test_both_models_are_registered(finished: tuple[Path, list[Any]]) -> None:
    runs, _ = finished
    found = open_search("small", runs)
    assert found.ensemble is not None
    client = mlflow.MlflowClient(Runs(runs).tracking_uri)
    assert client.get_registered_model("small").aliases.keys() == {"best", "ensemble"}
    assert client.get_model_version_by_alias("small", "best").run_id != (
        client.get_model_version_by_alias("small", "ensemble").run_id
    )
    data = load_data({"name": "wine", "test_fraction": 0.2}, seed=0)
    assert data.test is not None
    raw, classes = data.as_raw(data.test.x), np.array(data.class_names)[data.test.y]
    for ensemble, scores in ((True, found.ensemble.test_metrics), (False, found.test_metrics)):
        right = found.predict(raw, ensemble=ensemble) == classes
        assert scores is not None
        assert right.mean() == pytest.approx(scores["test_accuracy"], abs=1e-6)


def test_checkpoints_of_all_members_are_copied(
    finished: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    runs, _ = finished
    found = open_search("small", runs)
    assert found.ensemble is not None
    searches = LocalSearches(runs)
    folder = searches.download("small", tmp_path, ensemble=True)
    files = sorted(folder.iterdir())
    assert {path.name for path in files} == {f"trial-{n}.pt" for n in found.ensemble.trials}
    assert all("model" in load_checkpoint(path)["trainer"] for path in files)
    with pytest.raises(SearchExistsError, match="small-ensemble exists"):
        searches.download("small", tmp_path, ensemble=True)
    assert searches.download("small", tmp_path).name == f"small-trial-{found.best.number}.pt"  # type: ignore[union-attr]


def test_a_search_without_one_says_so(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    runs.create(make_spec())
    with pytest.raises(HpsearchError, match="small has no ensemble: search.ensemble asks for one"):
        LocalSearches(tmp_path).download("small", tmp_path, ensemble=True)

"""The best configurations with new seeds: what is trained again, by drivers that die too, and what
becomes the best."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hpsearch.analysis import SearchReport
from hpsearch.analysis.plain import plain_best
from hpsearch.early_stopping import make_early_stopper
from hpsearch.errors import RecordError, SpecError
from hpsearch.live import status_text
from hpsearch.outcome import Outcome
from hpsearch.record import Finalist, FinalNote, Record, Sample
from hpsearch.runs import Runs, SearchFolder
from hpsearch.searches import repeat_search, run_search
from hpsearch.spec import draft_spec
from hpsearch.tuning.control import SearchControl
from hpsearch.tuning.repeats import begin_final, open_repeats, results_of
from hpsearch.tuning.report import Report
from tests.support import records, specs

VALUES = {0: 0.9, 1: 0.8, 2: 0.95, 3: 0.8, 4: 0.7}


@pytest.fixture
def folder(tmp_path: Path) -> SearchFolder:
    """A search of five trials, two of the same configuration, whose best two are repeated."""
    spec = records.make_spec(final={"top": 3, "seeds": 2})
    (tmp_path / "train.py").write_text("def train(config, trial): ...")
    folder = Runs(tmp_path / "runs").create(spec.model_copy(update={"folder": str(tmp_path)}))
    record = folder.take_over()
    for number, value in VALUES.items():
        record.add_trial({"lr": [0.1, 0.2, 0.1, 0.3, 0.4][number], "width": 64})
        record.report(number, 9, {"score": value})
        record.end_trial(number, Outcome.COMPLETED)
    begin_final(record, "time_limit of 1 s reached")
    return folder


def test_finalists_are_the_best_configurations_each_once(folder: SearchFolder) -> None:
    record = folder.open_record()
    assert record.final is not None
    assert [each.trial for each in record.final.finalists] == [2, 1, 3]
    assert [trial.number for trial in record.kept()] == [2, 1, 3]
    assert record.best is record.trials[2]
    assert "training the best 3 configurations again with 2 new seeds" in status_text(record)


def train(folder: SearchFolder, scores: dict[float, list[float]], lives: int = 1) -> Record:
    """Train the repeats to the end, by drivers of which each but the last dies at some report."""
    chance = random.Random(lives)
    while True:
        record = folder.take_over()
        assert record.final is not None
        repeats, sampler = open_repeats(record, record.final, folder)
        stopper = make_early_stopper(repeats.spec)
        control = SearchControl(repeats, sampler, stopper, folder.final.checkpoints)
        lives -= 1
        while not control.is_over:
            trial = control.next_trial()
            if trial is None:
                break
            if lives and chance.random() < 0.5:
                break
            control.start_attempt(trial.number)
            alike = [t for t in repeats.trials if t.params == trial.params]
            value = scores[trial.params["lr"]][alike.index(trial)]  # type: ignore[index]
            if math.isnan(value):
                end = Report(4, outcome=Outcome.DIVERGED, reason="score is nan")
            else:
                end = Report(9, {"score": value, "test_score": value - 0.1})
            control.take_report(trial.number, end)
        if not lives:
            control.close()
            record.set_final(results_of(record, record.final, repeats))
            return record


@pytest.mark.parametrize("lives", [1, 2, 5])
def test_the_best_has_the_best_mean_whoever_died_meanwhile(
    folder: SearchFolder, lives: int
) -> None:
    train(folder, {0.1: [0.7, 0.9], 0.2: [0.85, 0.86], 0.3: [0.99, math.nan]}, lives)
    record = folder.open_record()
    assert record.final is not None
    assert [each.trial for each in record.final.finalists] == [1, 2, 3]  # a failed seed comes last
    assert [each.failed for each in record.final.finalists] == [0, 0, 1]
    assert record.best is record.trials[1]
    assert {trial.number for trial in record.kept()} == {1, 2}  # the search's own leader too
    best = record.final.finalists[0]
    assert sorted(best.values) == [0.85, 0.86]
    assert best.test is not None
    assert sorted(best.test["test_score"]) == pytest.approx([0.75, 0.76])
    repeats = folder.final.open_record()
    assert len(repeats.trials) == 6
    assert repeats.spec.search.seed != record.spec.search.seed
    assert repeats.spec.max_epochs == record.spec.max_epochs


def test_report_status_and_best_tell_of_the_seeds(folder: SearchFolder) -> None:
    record = train(folder, {0.1: [0.7, 0.9], 0.2: [0.85, 0.87], 0.3: [0.1, 0.1]})
    report = SearchReport(record)
    text = report.to_markdown()
    assert "Trial 1: `score` 0.8 after 9 epochs, the best of 5 that completed by new seeds" in text
    assert "| 1 | 0.86 | 0.01414 | 0.7329 to 0.9871 | 2 of 2 | 0.76 ± 0.01414 | 0.8 |" in text
    assert report.final is record.final
    assert "trial 1: score 0.86 ± 0.01414 of 2 new seeds" in " ".join(status_text(record).split())
    plain = plain_best(record)
    assert plain is not None
    assert plain["trial"] == 1
    assert plain["final"]["ranking"][0]["test"]["test_score"]["mean"] == pytest.approx(0.76)


def test_more_budget_trains_the_new_best_again_and_keeps_what_was_trained(
    folder: SearchFolder,
) -> None:
    record = train(folder, {0.1: [0.7, 0.9], 0.2: [0.85, 0.86], 0.3: [0.1, 0.1]})
    record.go_on(record.spec.extended(trials=1))
    assert record.final is None
    assert record.best is record.trials[2]
    record.add_trial({"lr": 0.5, "width": 64})
    record.report(5, 9, {"score": 0.99})
    record.end_trial(5, Outcome.COMPLETED)
    begin_final(record, None)
    record = train(folder, {0.1: [0.7, 0.9], 0.2: [0.85, 0.86], 0.5: [0.5, 0.6]})
    assert len(folder.final.open_record().trials) == 8
    assert record.final is not None
    assert [each.trial for each in record.final.finalists] == [1, 2, 5]


def test_an_interval_is_that_of_students_t() -> None:
    values = tuple(np.random.default_rng(0).normal(size=5))
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert Sample(values).interval == pytest.approx(expected)
    assert Sample((1.0,)).interval is None


def test_a_note_of_a_trial_that_is_not_there_is_refused(folder: SearchFolder) -> None:
    folder.take_over().set_final(FinalNote((Finalist(7),), 2))
    with pytest.raises(RecordError, match="final: no such trial"):
        folder.open_record()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"top": 0}, "search.final.top: must be greater than or equal to 1, but got 0"),
        (
            {"sedes": 3},
            "search.final.sedes: must be a known key, but got 'sedes'; did you mean 'seeds'?",
        ),
    ],
)
def test_what_final_cant_be(value: dict[str, int], problem: str) -> None:
    raw = records.make_spec().to_dict()
    raw["search"] |= {"final": value}
    assert [str(each) for each in draft_spec(raw).problems] == [problem]


@pytest.mark.usefixtures("ray_cluster")
def test_a_search_ends_with_new_seeds_and_can_have_more(tmp_path: Path) -> None:
    search = {"trials": 2, "final": {"top": 1, "seeds": 2}}
    report = run_search(specs.make_spec(search=search), tmp_path, progress=False)
    assert report.final is not None
    best = report.final.best
    assert best is not None
    assert len(set(best.test_scores["test_loss"].values)) == 2  # other seeds, other weights
    assert len(best.test_scores["test_accuracy"].values) == 2
    assert report.best is report.record.trials[best.trial]
    folder = Runs(tmp_path).search("small")
    assert folder.final.open_record().state == "finished"
    assert not folder.final.checkpoints.exists()
    again = repeat_search("small", tmp_path, seeds=3, progress=False)
    assert again.final is not None
    assert again.final.best is not None
    assert again.final.best.values[:2] == best.values
    assert len(again.final.best.values) == 3


def test_a_search_that_has_not_finished_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(config, trial): ...")
    spec = records.make_spec().model_copy(update={"folder": str(tmp_path)})
    Runs(tmp_path / "runs").create(spec)
    rule = "repeat: must be of a search that is finished and has a best trial, but got 'demo, runn"
    with pytest.raises(SpecError, match=rule):
        repeat_search("demo", tmp_path / "runs", progress=False)

"""The check of MLflow's runs, each broken for real."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hpsearch.outcome import Outcome
from hpsearch.record import Record
from hpsearch.tracking import sync
from hpsearch.tracking.run_content import SEARCH_TAGS, TRIAL_TAGS, search_content, trial_content
from tests.support.specs import make_spec
from tests.support.whole import Search, add_trial


def lose_a_run(search: Search) -> str:
    search.client.delete_run(search.run_id(2))
    return r"MLflow: must have one run of trial 2, but got \[\]"


def double_a_run(search: Search) -> str:
    search.copy_run(search.run(0))
    return r"MLflow: must have one run of trial 0, but got \['\w+', '\w+'\]"


def add_a_run(search: Search) -> str:
    search.copy_run(search.run(0), **{"hpsearch.trial": "9"})
    return r"MLflow: must have no run of trial 9, .*, but got \['\w+'\]"


def double_the_search(search: Search) -> str:
    search.copy_run(search.parent())
    return r"MLflow: must have one run of search small, but got \['\w+', '\w+'\]"


def double_a_point(search: Search) -> str:
    search.client.log_metric(search.run_id(0), "val_accuracy", 0.2, timestamp=1, step=2)
    return r"trial 0: val_accuracy at step 2: must be \[0.2\], but got \[0.2, 0.2\]"


def add_a_point(search: Search) -> str:
    search.client.log_metric(search.run_id(0), "val_accuracy", 0.2, step=4)
    return r"trial 0: val_accuracy at step 4: must be \[\], but got \[0.2\]"


def add_a_metric(search: Search) -> str:
    search.client.log_metric(search.run_id(0), "val_loss", 0.2, step=1)
    return r"trial 0: val_loss at step 1: must be \[\], but got \[0.2\]"


def lose_a_point(search: Search) -> str:
    point = f"run_uuid = '{search.run_id(0)}' AND step = 2 AND key = 'train_loss'"
    search.execute(f"DELETE FROM metrics WHERE {point}")
    return r"trial 0: train_loss at step 2: must be \[0.5\], but got \[\]"


def change_a_point(search: Search) -> str:
    point = f"run_uuid = '{search.run_id(0)}' AND step = 2 AND key = 'val_accuracy'"
    search.execute(f"UPDATE metrics SET value = 0.25 WHERE {point}")
    return r"trial 0: val_accuracy at step 2: must be \[0.2\], but got \[0.25\]"


def double_a_point_of_the_search(search: Search) -> str:
    run_id = search.parent().info.run_id
    search.client.log_metric(run_id, "best_val_accuracy", 0.5, timestamp=1, step=1)
    return r"the search: best_val_accuracy at step 1: must be \[0.5\], but got \[0.5, 0.5\]"


def let_a_run_go_on(search: Search) -> str:
    search.client.update_run(search.run_id(3), status="RUNNING")
    return "trial 3: must be FAILED, but got 'RUNNING'"


def let_the_search_go_on(search: Search) -> str:
    search.client.update_run(search.parent().info.run_id, status="RUNNING")
    return "the search: must be FINISHED, but got 'RUNNING'"


def change_a_tag(search: Search) -> str:
    search.client.set_tag(search.run_id(2), "outcome", "completed")
    return "trial 2: tag outcome: must be 'stopped_early', but got 'completed'"


def add_a_tag_of_a_trial(search: Search) -> str:
    search.client.set_tag(search.run_id(0), "stopped_early", "2")
    return "trial 0: tag stopped_early: must not exist, but got '2'"


def add_a_tag_of_the_search(search: Search) -> str:
    search.client.set_tag(search.parent().info.run_id, "hpsearch.epochs", "0")
    return "the search: tag hpsearch.epochs: must not exist, but got '0'"


def add_a_reason_of_the_search(search: Search) -> str:
    search.client.set_tag(search.parent().info.run_id, "reason", "cancelled")
    return "the search: tag reason: must not exist, but got 'cancelled'"


def add_a_param_of_a_trial(search: Search) -> str:
    search.client.log_param(search.run_id(0), "optimizer.momentum", "0.9")
    return "trial 0: param optimizer.momentum: must not exist, but got '0.9'"


def add_a_param_of_the_search(search: Search) -> str:
    search.client.log_param(search.parent().info.run_id, "search.epochs_limit", "10")
    return "the search: param search.epochs_limit: must not exist, but got '10'"


def change_a_param_of_the_search(search: Search) -> str:
    param = f"run_uuid = '{search.parent().info.run_id}' AND key = 'search.seed'"
    search.execute(f"UPDATE params SET value = '1' WHERE {param}")
    return "the search: param search.seed: must be '0', but got '1'"


def change_a_tag_of_the_search(search: Search) -> str:
    search.client.set_tag(search.parent().info.run_id, "best_trial", "0")
    return "the search: tag best_trial: must be '1', but got '0'"


def lose_a_point_of_the_search(search: Search) -> str:
    point = f"run_uuid = '{search.parent().info.run_id}' AND step = 1"
    search.execute(f"DELETE FROM metrics WHERE key = 'best_val_accuracy' AND {point}")
    return r"the search: best_val_accuracy at step 1: must be \[0.5\], but got \[\]"


def lose_a_test_metric_of_the_search(search: Search) -> str:
    point = f"run_uuid = '{search.parent().info.run_id}' AND key = 'test_accuracy'"
    search.execute(f"DELETE FROM metrics WHERE {point}")
    search.execute(f"DELETE FROM latest_metrics WHERE {point}")
    return r"the search: test_accuracy at step 5: must be \[0.75\], but got \[\]"


def log_a_test_metric_of_a_trial_that_was_stopped(search: Search) -> str:
    search.client.log_metric(search.run_id(2), "test_accuracy", 0.75, step=1)
    return r"trial 2: test_accuracy at step 1: must be \[\], but got \[0.75\]"


def lose_what_is_not_finite(search: Search) -> str:
    search.client.delete_tag(search.run_id(1), "nonfinite")
    return "trial 1: tag nonfinite: must be 'train_loss@3=inf', but got None"


def count_in_words(search: Search) -> str:
    search.copy_run(search.run(0), **{"hpsearch.trial": "none"})
    return r"MLflow: must have no run of trial none, .*, but got \['\w+'\]"


def add_an_orphan(search: Search) -> str:
    search.copy_run(search.run(0), **{"mlflow.parentRunId": "0123456789abcdef"})
    return r"MLflow: must have no runs of trials whose parent run is gone, but got \['\w+'\]"


def lose_a_param(search: Search) -> str:
    param = f"run_uuid = '{search.run_id(2)}' AND key = 'batch_size'"
    search.execute(f"DELETE FROM params WHERE {param}")
    return "trial 2: param batch_size: must be '32', but got None"


@pytest.mark.parametrize(
    "break_it",
    [
        lose_a_run,
        double_a_run,
        add_a_run,
        double_the_search,
        double_a_point,
        add_a_point,
        add_a_metric,
        lose_a_point,
        change_a_point,
        double_a_point_of_the_search,
        let_a_run_go_on,
        let_the_search_go_on,
        change_a_tag,
        add_a_tag_of_a_trial,
        add_a_tag_of_the_search,
        add_a_reason_of_the_search,
        add_a_param_of_a_trial,
        add_a_param_of_the_search,
        change_a_param_of_the_search,
        change_a_tag_of_the_search,
        lose_a_point_of_the_search,
        lose_a_test_metric_of_the_search,
        log_a_test_metric_of_a_trial_that_was_stopped,
        lose_what_is_not_finite,
        count_in_words,
        add_an_orphan,
        lose_a_param,
    ],
)
def test_what_is_wrong_in_mlflow_is_found(
    search: Search, break_it: Callable[[Search], str]
) -> None:
    problem = break_it(search)
    (found,) = search.check().problems
    assert re.search(f"{problem}$", found)


def test_a_lost_search_is_lost_with_all_its_runs(search: Search) -> None:
    orphans = {search.run_id(number) for number in range(5)}
    search.client.delete_run(search.parent().info.run_id)
    *lost, orphaned = search.check().problems
    rules = ["search small", *(f"trial {number}" for number in range(5))]
    assert lost == [f"MLflow: must have one run of {what}, but got []" for what in rules]
    assert all(orphan in orphaned for orphan in orphans)


def test_runs_of_several_pages_are_compared(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpsearch.tracking.writer.PAGE", 2)
    assert search.check().problems == ()


def test_what_a_user_adds_to_mlflow_is_no_problem(search: Search) -> None:
    for run_id in (search.run_id(0), search.parent().info.run_id):
        search.client.set_tag(run_id, "team", "vision")
        search.client.set_tag(run_id, "mlflow.note.content", "a note")
        search.client.log_param(run_id, "paper", "1706.03762")
    search.client.log_metric(search.parent().info.run_id, "price", 1.0, step=1)
    experiment_id = search.parent().info.experiment_id
    search.client.create_run(experiment_id, tags={"by": "hand"})
    child = {"by": "hand", "mlflow.parentRunId": search.parent().info.run_id}
    search.client.create_run(experiment_id, tags=child)
    assert search.check().problems == ()


def test_the_runs_of_an_earlier_search_of_that_name_are_no_problem(search: Search) -> None:
    earlier = search.parent().data.tags | {"hpsearch.created_at": "1.0"}
    experiment_id = search.parent().info.experiment_id
    run = search.client.create_run(experiment_id, start_time=1000, tags=earlier)
    tags = {"hpsearch.searches": "small", "hpsearch.trial": "0"}
    for parent in (run.info.run_id, "0123456789abcdef"):
        search.client.create_run(
            experiment_id, start_time=1000, tags={**tags, "mlflow.parentRunId": parent}
        )
    assert search.check().problems == ()


def test_a_metric_of_a_trial_that_is_named_as_one_of_the_test_split_is_compared(
    search: Search,
) -> None:
    record = search.folder.take_over()
    record.go_on()
    number = add_trial(record, [0.1, 0.2])
    record.report(number, 3, {"val_accuracy": 0.3, "test_accuracy": 0.3})
    record.end_trial(number, Outcome.COMPLETED)
    record.end("finished")
    sync(record, search.place.tracking_uri)
    assert search.check().problems == ()
    search.client.log_metric(search.run_id(number), "test_accuracy", 0.9, step=4)
    (problem,) = search.check().problems
    assert problem.endswith("test_accuracy at step 4: must be [], but got [0.9]")


@pytest.mark.parametrize("outcome", Outcome)
def test_the_names_of_tags_are_those_that_are_written(tmp_path: Path, outcome: Outcome) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    number = add_trial(record, [0.1, float("nan")])
    record.end_trial(number, outcome, "a reason", "a traceback")
    record.end("stopped", "cancelled")
    tags = {name for name in trial_content(record, record.trials[number]).tags}
    assert {name for name in tags if not name.startswith("hpsearch.")} <= {*TRIAL_TAGS}
    tags = {name for name in search_content(record).tags} - record.facts.keys()
    assert {name for name in tags if not name.startswith("hpsearch.")} <= {*SEARCH_TAGS}

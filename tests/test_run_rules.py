"""The check of MLflow's runs, each broken for real."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.whole import Search


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
    search.client.delete_run(search.parent().info.run_id)
    rules = ["search small", *(f"trial {number}" for number in range(5))]
    assert search.check().problems == tuple(
        f"MLflow: must have one run of {what}, but got []" for what in rules
    )

"""What can't go with a population, and what it is told to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.simulation.simulate import simulate
from hpsearch.validation.population import population_told
from tests.support.problems import problems_of
from tests.support.specs import changed, make_spec

PBT = {"name": "pbt", "population": 8, "perturbation_interval": 3}


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (
            {"search": {"early_stopping": "median"}},
            "search.early_stopping.name: must be none with the sampler pbt: worse members copy "
            "better ones instead, but got 'median'",
        ),
        (
            {"search": {"trials": 8, "early_stopping": {"max_epochs": 9}}},
            "search.trials: must be more than the population (8): each copy is a trial, but got "
            "8; 12 are enough for all copies",
        ),
        (
            {"search": {"early_stopping": {"max_epochs": 3}}},
            "search.sampler.perturbation_interval: must be less than the epochs of a trial "
            "(search.early_stopping: 3), but got 3",
        ),
        (
            {"search": {"warm_start": ["other"]}},
            "search.warm_start: must not be given with the sampler pbt",
        ),
        (
            {"search": {"final": {"top": 2}}},
            "search.final: must not be given with the sampler pbt",
        ),
        (
            {"dataset": {"name": "wine", "folds": 3}},
            "dataset.folds: must not be given with the sampler pbt: the final model is trained "
            "anew, with the last hyperparameters alone, but got 3",
        ),
        (
            {"search": {"stop_when": {"improvement_below": 0.1}}},
            "search.stop_when: must not be given with the sampler pbt",
        ),
        (
            {"constraints": [{"metric": "parameters", "max": 9000}]},
            "constraints: must not be given with the sampler pbt",
        ),
        (
            {"objectives": [{"metric": "val_accuracy"}, {"metric": "parameters"}]},
            "search.sampler.name: with several objectives must be one of",
        ),
        (
            {
                "model": {"name": "mlp", "hidden_sizes": {"choices": [[8], [16]]}},
                "batch_size": 16,
            },
            "search.sampler: must have hyperparameters that can change in a trained net",
        ),
    ],
)
def test_what_cannot_go_with_a_population_is_refused(
    sections: dict[str, Any], expected: str
) -> None:
    search = {"sampler": PBT, **sections.pop("search", {})}
    found = problems_of(changed(search=search, **sections))
    assert [each for each in map(str, found) if expected in each], found


FUNCTIONS = """
def forgets(config, trial):
    yield {"score": config["x"]}

def another(config, trial):
    yield {"score": config["x"]}
"""


def own_code(**sections: Any) -> dict[str, Any]:
    return {
        "name": "own",
        "objective": {"metric": "score"},
        "space": {"x": {"low": 0.0, "high": 1.0}},
        "search": {"sampler": PBT},
        **sections,
    }


def test_a_function_that_loads_no_checkpoint_is_told_how(tmp_path: Path) -> None:
    (tmp_path / "forgetful.py").write_text(FUNCTIONS)
    found = problems_of(own_code(trainable="forgetful.py:forgets"), tmp_path)
    assert [str(each) for each in found] == [
        "trainable: must load its checkpoints with the sampler pbt: members begin with others', "
        "but got 'forgetful.py:forgets'; begin with trial.load_checkpoint(), and call "
        "trial.save_checkpoint each epoch"
    ]


def test_a_command_is_told_to_be_a_function(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import hpsearch\nhpsearch.report(score=1)\n")
    found = problems_of(own_code(command="python script.py --x {x}"), tmp_path)
    assert any(
        str(each).startswith(
            "command: must not be given with the sampler pbt, which copies states"
        )
        for each in found
    ), found


def test_a_simulation_is_refused() -> None:
    with pytest.raises(SpecError, match="must be a sampler of independent trials"):
        simulate(make_spec(search={"sampler": PBT}), None, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"sampler": "random"}, ""),
        (
            {"sampler": PBT, "early_stopping": {"max_epochs": 12}, "trials": 40},
            "population: 8 members of 12 epochs, 96 epochs in all; copies every 3 epochs, "
            "14 trials with them",
        ),
        (
            {"sampler": PBT, "early_stopping": {"max_epochs": 12}, "trials": 10},
            "population: 8 members of 12 epochs, 96 epochs in all; copies every 3 epochs, "
            "10 trials with them",
        ),
    ],
)
def test_the_epochs_of_a_population_are_told(search: dict[str, Any], expected: str) -> None:
    assert population_told(make_spec(search=search)) == expected


def test_a_population_trains_in_full_without_a_word_of_it() -> None:
    spec = make_spec(search={"sampler": "pb2", "early_stopping": {"max_epochs": 12}})
    assert (spec.search.early_stopping.name, spec.max_epochs) == ("none", 12)

"""The check of a search's files, each broken for real."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from hpsearch.runs import SearchFolder
from hpsearch.training.checkpoints import CheckpointStore
from tests.whole import Search


def lose_a_checkpoint(folder: SearchFolder) -> str:
    (folder.checkpoints / "trial-0001" / "epoch-0003.pt").unlink()
    return "trial 1: must have its checkpoint, .*, but got 'trial-0001/epoch-0003.pt'"


def keep_a_checkpoint(folder: SearchFolder) -> str:
    CheckpointStore(folder.checkpoints, 0).save(3, {"epoch": 3})
    return "trial-0000: must not be there: it is of no unfinished trial, and of none of the best"


def name_a_checkpoint_otherwise(folder: SearchFolder) -> str:
    (folder.checkpoints / "trial-0001" / "epoch-0002.tmp").touch()
    return "epoch-0002.tmp: must be a checkpoint, named epoch-NNNN.pt"


def change_the_spec(folder: SearchFolder) -> str:
    folder.spec.write_text(folder.spec.read_text().replace("trials: 4", "trials: 5"))
    return "spec.yaml: must be the spec of the record"


@pytest.mark.parametrize(
    "break_it",
    [lose_a_checkpoint, keep_a_checkpoint, name_a_checkpoint_otherwise, change_the_spec],
)
def test_what_is_wrong_in_the_files_is_found(
    search: Search, break_it: Callable[[SearchFolder], str]
) -> None:
    problem = break_it(search.folder)
    (found,) = search.check().problems
    assert re.search(f"{problem}$", found)

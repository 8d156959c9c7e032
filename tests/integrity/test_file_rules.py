"""The check of a search's files, each broken for real."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from hpsearch.integrity.file_rules import file_problems
from hpsearch.runs import SearchFolder
from hpsearch.tracking import sync
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.training.command import TrialFolders
from tests.support.whole import Search, add_checkpoint, add_trial


def lose_a_checkpoint(folder: SearchFolder) -> str:
    (folder.checkpoints / "trial-0001" / "epoch-0003.pt").unlink()
    return "trial 1: must have its checkpoint, .*, but got 'trial-0001/epoch-0003.pt'"


def keep_a_checkpoint(folder: SearchFolder) -> str:
    CheckpointStore(folder.checkpoints, 0).save(3, {"epoch": 3})
    return "trial-0000: must not exist: its trial has ended and is not among the best"


def name_a_checkpoint_otherwise(folder: SearchFolder) -> str:
    (folder.checkpoints / "trial-0001" / "epoch-0002.tmp").touch()
    return "epoch-0002.tmp: must be a checkpoint, named epoch-NNNN.pt"


def save_another_epoch(folder: SearchFolder) -> str:
    torch.save({"epoch": 2}, folder.checkpoints / "trial-0001" / "epoch-0003.pt")
    return "epoch-0003.pt: must hold the state after epoch 3, but got 2"


def save_something_else(folder: SearchFolder) -> str:
    torch.save([1, 2], folder.checkpoints / "trial-0001" / "epoch-0003.pt")
    return "epoch-0003.pt: must hold the state after epoch 3, but got None"


def change_a_byte(folder: SearchFolder) -> str:
    path = folder.checkpoints / "trial-0001" / "epoch-0003.pt"
    torch.save({"epoch": 3, "weights": torch.full((1000,), 0.5)}, path)
    content = path.read_bytes()
    weights = bytes(torch.full((1000,), 0.5).numpy().data)
    damaged = content.replace(weights, weights[:-1] + b"!")
    assert damaged != content
    path.write_bytes(damaged)
    return "epoch-0003.pt: must be a readable checkpoint, but got 'a wrong checksum of .*/data/0'"


def cut_a_checkpoint_short(folder: SearchFolder) -> str:
    path = folder.checkpoints / "trial-0001" / "epoch-0003.pt"
    path.write_bytes(path.read_bytes()[:-100])
    return "epoch-0003.pt: must be a readable checkpoint, but got 'BadZipFile: .*'"


def lose_the_spec(folder: SearchFolder) -> str:
    folder.spec.unlink()
    return "spec.yaml: must be the spec of the record, but got 'No such file or directory'"


def leave_half_a_spec(folder: SearchFolder) -> str:
    (folder.path / "spec.tmp").write_text("name: sm")
    return "spec.tmp: must not exist: it is a partial write"


def change_the_spec(folder: SearchFolder) -> str:
    folder.spec.write_text(folder.spec.read_text().replace("trials: 4", "trials: 5"))
    return "spec.yaml: must be the spec of the record"


@pytest.mark.parametrize(
    "break_it",
    [
        lose_a_checkpoint,
        keep_a_checkpoint,
        name_a_checkpoint_otherwise,
        save_another_epoch,
        save_something_else,
        change_a_byte,
        cut_a_checkpoint_short,
        lose_the_spec,
        leave_half_a_spec,
        change_the_spec,
    ],
)
def test_what_is_wrong_in_the_files_is_found(
    search: Search, break_it: Callable[[SearchFolder], str]
) -> None:
    problem = break_it(search.folder)
    (found,) = search.check().problems
    assert re.search(f"{problem}$", found)


def test_the_files_of_a_command_are_no_problem(search: Search) -> None:
    store = CheckpointStore(search.folder.checkpoints, 1)
    store.files.mkdir()
    TrialFolders(store.files, search.folder.path).log.touch()
    assert search.check().problems == ()


class OfAUser:
    """What a user's class may put into its state."""


def test_a_state_with_a_users_own_objects_is_told_and_left_pickled(search: Search) -> None:
    path = search.folder.checkpoints / "trial-0001" / "epoch-0003.pt"
    torch.save({"epoch": 3, "state": OfAUser()}, path)
    (problem,) = search.check().problems
    assert problem.startswith(f"{path}: must hold tensors, arrays and plain values only")
    assert problem.endswith(f"but has {__name__}.OfAUser")


def test_a_checkpoint_of_an_earlier_epoch_is_not_the_best_trials(search: Search) -> None:
    record = search.folder.open_record()
    record.trials[1].checkpoint = "trial-0001/epoch-0002.pt"
    path = search.folder.checkpoints / "trial-0001" / "epoch-0003.pt"
    path.unlink()
    torch.save({"epoch": 2}, path.with_name("epoch-0002.pt"))
    rule = "trial 1: must have the checkpoint of its last epoch, 3"
    assert list(file_problems(record, search.folder)) == [
        f"{rule}, but got 'trial-0001/epoch-0002.pt'"
    ]


def test_the_checkpoints_of_unfinished_trials_are_read_too(search: Search) -> None:
    record = search.folder.take_over()
    record.go_on()
    number = add_trial(record, [0.1])
    path = add_checkpoint(record, search.folder, number)
    path.write_bytes(b"12345")
    sync(record, search.place.tracking_uri)
    (problem,) = search.check().problems
    assert (
        problem
        == f"{path}: must be a readable checkpoint, but got 'BadZipFile: File is not a zip file'"
    )


def test_a_checkpoint_that_goes_while_it_is_looked_at_is_no_problem(search: Search) -> None:
    record = search.folder.take_over()
    record.go_on()
    number = add_trial(record, [0.1])
    path = add_checkpoint(record, search.folder, number)
    path.with_name("epoch-0001.pt").symlink_to("gone")
    sync(record, search.place.tracking_uri)
    assert search.check().problems == ()

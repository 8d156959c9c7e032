"""A checkpoint of user code is given back as the code saved it."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hpsearch.errors import HpsearchError
from hpsearch.spec import TrialConfig
from hpsearch.training import launch
from hpsearch.training.checkpoints import CheckpointStore
from hpsearch.training.user_code.saved import load_saved, read_saved, unpack, write_saved
from hpsearch.training.user_code.saved_files import packed, temporary_files, unpack_files

OF_FILES = ("file_saver", "folder_saver")
STATE = {"weight": torch.arange(3.0), "epoch": 1}


def saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"loss": 1.0}
    trial.save_checkpoint(STATE)


def non_saver(config: dict[str, Any], trial: Any) -> Iterator[dict[str, float]]:
    yield {"loss": 1.0}


class Saver:
    def __init__(self, config: dict[str, Any], trial: Any) -> None: ...

    def train_epoch(self) -> dict[str, float]:
        return {"loss": 1.0}

    def state_dict(self) -> dict[str, Any]:
        return STATE


def checkpoint_of(name: str, folder: Path) -> Path:
    module = "tests.support.training_functions" if name in OF_FILES else __name__
    trainer = launch(
        TrialConfig(0, 0, 1, {"space": {}}, trainable=f"{module}:{name}", folder="."), None
    )
    trainer.train_epoch()
    state = {"epoch": 1, "metrics": {"loss": 1.0}, "trainer": trainer.state_dict()}
    return CheckpointStore(folder, 0).save(1, state)


def check_state(state: Any) -> None:
    assert torch.equal(state.pop("weight"), STATE["weight"])
    assert state == {"epoch": 1}


@pytest.mark.parametrize("name", ["saver", "Saver"])
def test_what_was_saved_is_given_back(name: str, tmp_path: Path) -> None:
    file = checkpoint_of(name, tmp_path)
    check_state(load_saved(file))
    unpack(file)
    check_state(torch.load(file, weights_only=True))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_function_that_saved_nothing_leaves_no_file(tmp_path: Path) -> None:
    file = checkpoint_of("non_saver", tmp_path)
    for give in (load_saved, unpack):
        with pytest.raises(HpsearchError, match=r"saved no checkpoint: .* trial\.save_checkpoint"):
            give(file)
    assert list(file.parent.iterdir()) == []


def test_a_model_s_checkpoint_stays_as_it_is(tmp_path: Path) -> None:
    state = {"epoch": 1, "metrics": {}, "trainer": {"epoch": 1, "model": STATE}}
    file = CheckpointStore(tmp_path, 0).save(1, state)
    before = file.read_bytes()
    unpack(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "saved", "content"),
    [("file_saver", "epoch-1.txt", ""), ("folder_saver", "epoch-1", "parts/total.txt")],
)
def test_files_are_given_back(name: str, saved: str, content: str, tmp_path: Path) -> None:
    file = checkpoint_of(name, tmp_path)
    assert (load_saved(file) / content).read_text() == "1.0"
    place = unpack(file)
    assert (place / content).read_text() == "1.0"
    assert [path for path in file.parent.iterdir()] == [place]
    written = write_saved(read_saved(checkpoint_of(name, tmp_path / "again")), tmp_path)
    assert (written / content).read_text() == "1.0"


def test_a_forked_process_leaves_them_to_its_parent(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("1")
    owner = Owner()
    file = temporary_files(packed(tmp_path / "model"), owner)
    if (child := os.fork()) == 0:  # as a worker of a DataLoader is
        try:
            del owner
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert file.read_text() == "1"
    del owner
    gc.collect()
    assert not file.parent.exists()


class Owner:
    """Whose end is that of its files."""


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    file = checkpoint_of("folder_saver", tmp_path)
    file.with_suffix("").mkdir()
    with pytest.raises(HpsearchError, match="is there already: move it, or choose another --to"):
        unpack(file)


@pytest.mark.parametrize("name", ["../other", "model/../../other", "/other", "other", ""])
def test_no_file_leaves_its_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("1")
    state = packed(tmp_path / "model")
    state["hpsearch.files"] = {name: b"2"}
    with pytest.raises(HpsearchError, match="the files of a checkpoint must lie below its folder"):
        unpack_files(state, tmp_path / "target")
    assert not (tmp_path / "other").exists()

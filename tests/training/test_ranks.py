"""A training function as several processes: gloo on CPUs, one model, one curve."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from hpsearch.errors import SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import launch
from hpsearch.training.command import CommandError, CommandTrainer, OtherNodes, TrialFolders
from hpsearch.validation import check
from tests.support.nodes import ThreadNodes

#: each rank has its number as target, so that the weight goes to the mean of the ranks
CODE = """
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    def train(config, trial):
        dist.init_process_group("gloo")
        assert (dist.get_rank(), dist.get_world_size()) == (trial.rank, trial.world_size)
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(model.weight)
        if (saved := trial.load_checkpoint()) is not None:
            model.load_state_dict(saved)
        model = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"])
        for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
            optimizer.zero_grad()
            model(torch.tensor([[1.0]])).sub(trial.rank).square().sum().mul(0.5).backward()
            optimizer.step()
            trial.save_checkpoint(model.module.state_dict(), epoch)
            yield {"weight": model.module.weight.item()}
        dist.destroy_process_group()

    def diverges(config, trial):
        yield {"weight": float("nan")}

    def fails(config, trial):
        raise ValueError(f"rank {trial.rank} of {trial.world_size}")

    class Net:
        def __init__(self, config, trial): ...
        def train_epoch(self): return {"weight": 1.0}
        def state_dict(self): return {}
        def load_state_dict(self, state): ...
"""


def trainer_of(folder: Path, name: str, processes: int, others: OtherNodes | None = None) -> Any:
    file = f"code_{folder.name}.py"  # another module in each test
    (folder / file).write_text(dedent(CODE))
    config = TrialConfig(
        number=0,
        seed=0,
        max_epochs=4,
        values={"space": {"lr": 0.5}},
        metric="weight",
        trainable=f"{file}:{name}",
        process_launcher="torchrun",
        processes=processes,
        nodes=1 if others is None else 2,
        folder=str(folder),
    )
    folders = TrialFolders(folder / "checkpoints", folder / "outputs")
    return launch(config, None, folders=folders, other_nodes=others)


def test_ranks_train_one_model_and_go_on(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "train", 2)
    assert isinstance(trainer, CommandTrainer)
    curve = [trainer.train_epoch()["weight"] for _ in range(2)]
    state = trainer.state_dict()
    trainer.close()
    again = trainer_of(tmp_path, "train", 2)
    again.load_state_dict(state)
    curve += [again.train_epoch()["weight"] for _ in range(2)]
    again.close()
    assert curve == pytest.approx([0.5 * (1 - 0.5**epoch) for epoch in range(1, 5)])


def test_four_ranks(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "train", 4)
    assert trainer.train_epoch()["weight"] == pytest.approx(0.75)
    trainer.close()


def test_a_metric_that_is_not_finite_reaches_the_worker(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "diverges", 2)
    assert math.isnan(trainer.train_epoch()["weight"])
    trainer.close()


def test_a_rank_s_error_is_the_trial_s(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "fails", 2)
    with pytest.raises(CommandError, match="ValueError: rank [01] of 2"):
        trainer.train_epoch()


def test_ranks_of_two_nodes_train_one_model(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "train", 1, ThreadNodes())
    assert trainer.train_epoch()["weight"] == pytest.approx(0.25)
    trainer.close()


def problems_of(folder: Path, name: str, resources: dict[str, Any]) -> list[str]:
    file = f"code_{folder.name}.py"
    (folder / file).write_text(dedent(CODE))
    raw = {
        "name": "ranks",
        "trainable": f"{file}:{name}",
        "space": {"lr": {"low": 0.1, "high": 1.0}},
        "objective": {"metric": "weight"},
        "resources": resources,
    }
    try:
        check(draft_spec(raw, folder))
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("name", "launcher", "expected"),
    [
        ("train", "torchrun", []),
        ("Net", "torchrun", ["resources.launcher: must be given with a training function or a"]),
        ("train", None, ["resources.processes: must come with resources.launcher, which starts"]),
    ],
)
def test_what_can_have_several_processes(
    name: str, launcher: str | None, expected: list[str], tmp_path: Path
) -> None:
    found = problems_of(tmp_path, name, {"cpu": 2, "launcher": launcher, "processes": 2})
    assert [each[: len(want)] for each, want in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"nodes": 2, "launcher": "torchrun", "placement": "pack"}, []),
        ({"nodes": 2}, ["resources.nodes: must come with resources.launcher"]),
        ({"placement": "pack"}, ["resources.placement: must come with resources.nodes of 2 or"]),
    ],
)
def test_what_can_have_several_nodes(
    resources: dict[str, Any], expected: list[str], tmp_path: Path
) -> None:
    found = problems_of(tmp_path, "train", resources)
    assert [each[: len(want)] for each, want in zip(found, expected, strict=True)] == expected

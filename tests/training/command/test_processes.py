"""A command as several processes: torchrun and gloo, on CPUs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpsearch.spec import TrialConfig
from hpsearch.training.command import CommandError, CommandTrainer, LostProcessError
from hpsearch.training.command.processes import launched
from tests.support.commands import curve, make_trainer

#: data-parallel; the gradient is the mean over the ranks, each of which has its own row
SCRIPT = """
    import sys, torch, hpsearch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    saved = hpsearch.checkpoint_dir() / "last.pt"
    first = 0
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        first = state["epoch"]
    for epoch in range(first, 4):
        if rank == 1 and epoch == 1:
            FAILURE
        optimizer.zero_grad()
        model(torch.tensor([[1.0]])).sub(rank).square().sum().mul(0.5).backward()
        optimizer.step()
        if rank == 0:
            torch.save({"model": model.state_dict(), "epoch": epoch + 1}, saved)
        weight = model.module.weight.item()
        hpsearch.report(epoch=epoch, accuracy=weight, on_stop="raise")
    dist.destroy_process_group()
"""


def trainer_of(path: Path, failure: str = "pass") -> CommandTrainer:
    script = SCRIPT.replace("FAILURE", failure)
    command = {"run": "python train.py", "arguments": "none"}
    processes = {"process_launcher": "torchrun", "processes": 2}
    return make_trainer(path, script, command, max_epochs=4, **processes)


def test_ranks_train_one_model_and_go_on(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    assert [trainer.train_epoch()["accuracy"] for _ in range(2)] == [0.25, 0.375]
    state = trainer.state_dict()
    trainer.close()  # all ranks are stopped at the same report
    again = trainer_of(tmp_path)
    again.load_state_dict(state)
    assert curve(again) == pytest.approx([0.4375, 0.46875])


def test_one_rank_s_error_is_the_trial_s(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "raise ValueError('bad rank')")
    with pytest.raises(CommandError) as caught:
        curve(trainer)
    raised = caught.value.raised
    assert (raised.type, raised.message, Path(raised.file).name) == (
        "ValueError",
        "bad rank",
        "train.py",
    )


def test_a_killed_rank_is_a_lost_worker(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(LostProcessError, match="one of its ranks"):
        curve(trainer)


@pytest.mark.parametrize(
    ("launcher", "gpu", "words", "command"),
    [
        (None, 0, "python t.py", "python t.py"),
        ("torchrun", 0, "python t.py -x", "torchrun --standalone --nproc-per-node 2 t.py -x"),
        ("torchrun", 2, "./t.sh", "torchrun --standalone --nproc-per-node 2 --no-python ./t.sh"),
        ("torchrun", 2, f"{sys.executable} -m a", "torchrun --standalone --nproc-per-node 2 -m a"),
        ("accelerate", 0, "python t.py", "torchrun --standalone --nproc-per-node 2 t.py"),
        (
            "accelerate",
            2,
            "python t.py",
            "accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision "
            "no --dynamo_backend no --main_process_port 0 t.py",
        ),
    ],
)
def test_the_command_of_a_launcher(
    launcher: str | None, gpu: float, words: str, command: str
) -> None:
    config = TrialConfig(0, 0, 1, {}, process_launcher=launcher, processes=2, gpu=gpu)
    assert " ".join(launched(words.split(), config)) == command

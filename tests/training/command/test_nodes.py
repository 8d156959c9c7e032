"""A trial on several nodes: each starts its ranks, which train one model."""

from __future__ import annotations

import selectors
import socket
from pathlib import Path

import pytest

from hpsearch.spec import Resources, TrialConfig
from hpsearch.training.command import CommandError, CommandTrainer, LostProcessError, NodeRun
from hpsearch.training.command.epochs import ScriptReport
from hpsearch.training.command.nodes import NodeCommand
from hpsearch.training.command.processes import Rendezvous, launched
from hpsearch.training.command.server import ReportServer
from tests.support.commands import curve, make_trainer
from tests.support.nodes import ThreadNodes

#: the mean of the ranks' targets, step by step; each says what its environment is
SCRIPT = """
    import os, time, torch, hpsearch
    import torch.distributed as dist
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "NODE_RANK")
    numbers = [os.environ[name] for name in names]
    said = [None, None]
    dist.all_gather_object(said, [*numbers, os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]])
    if rank == 0:
        print("environments", said)
    saved = hpsearch.checkpoint_dir() / "weight.pt"
    weight, first = torch.load(saved) if saved.exists() else (torch.zeros(1), 0)
    for epoch in range(first, 4):
        if rank == 1 and epoch == 1:
            FAILURE
        target = torch.tensor([float(rank)])
        dist.all_reduce(target)
        weight += 0.5 * (target / 2 - weight)
        if rank == 0:
            torch.save((weight, epoch + 1), saved)
        hpsearch.report(epoch=epoch, accuracy=weight, on_stop="raise")
    dist.destroy_process_group()
"""


def trainer_of(path: Path, failure: str = "pass") -> CommandTrainer:
    return make_trainer(
        path,
        SCRIPT.replace("FAILURE", failure),
        {"run": "python train.py", "arguments": "none"},
        max_epochs=4,
        others=ThreadNodes(),
        process_launcher="torchrun",
        processes=1,
        nodes=2,
    )


def test_ranks_of_two_nodes_train_one_model_and_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    trainer = trainer_of(tmp_path)
    assert [trainer.train_epoch()["accuracy"] for _ in range(2)] == [0.25, 0.375]
    state = trainer.state_dict()
    trainer.close()  # both nodes' ranks, at the same report
    said = next(line for line in capfd.readouterr().out.splitlines() if "environments" in line)
    first, second = eval(said.removeprefix("environments "))
    assert (first[:6], second[:6]) == (list("002100"), list("102111"))
    assert first[6:] == second[6:]
    again = trainer_of(tmp_path)
    again.load_state_dict(state)
    assert curve(again) == pytest.approx([0.4375, 0.46875])


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [
        ("raise ValueError('bad rank')", CommandError, "ValueError: bad rank"),
        ("os.kill(os.getpid(), 9)", LostProcessError, "one of its ranks"),
    ],
)
def test_what_ends_a_rank_of_another_node_ends_all(
    failure: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    trainer = trainer_of(tmp_path, failure)
    with pytest.raises(error, match=message):
        curve(trainer)


def test_nodes_must_share_the_folders_of_a_trial(tmp_path: Path) -> None:
    folder = str(tmp_path / "elsewhere")
    command = NodeCommand(("true",), str(tmp_path), {}, 1.0, str(tmp_path / "log"), (folder,))
    end = NodeRun().run(command)
    assert f"{folder}: must be a folder that all nodes of a trial share" in str(end.error)


def test_a_node_that_is_stopped_before_it_starts_ends(tmp_path: Path) -> None:
    run = NodeRun()
    run.stop()
    command = NodeCommand(("sleep", "60"), str(tmp_path), {}, 1.0, str(tmp_path / "log"))
    assert run.run(command).exit_code is None


def test_only_who_knows_the_secret_reports_from_elsewhere() -> None:
    with selectors.DefaultSelector() as selector:
        reports: list[ScriptReport] = []

        def take(report: ScriptReport) -> bool:
            reports.append(report)
            return False

        server = ReportServer(selector, take, "127.0.0.1")
        secret, _, address = server.remote.removeprefix("tcp://").partition("@")
        host, _, port = address.rpartition(":")
        message = b'{"rank": 0, "epoch": 1, "step": null, "metrics": {}, "on_stop": "raise"'
        message += b', "has_runs": false}\n'
        for first, answer in ((b"guess", b""), (secret.encode(), b'{"stop": false}\n')):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(first + b"\n" + message)
                for _ in range(2):  # the connection, and what it sends
                    for key, _ in selector.select(5):
                        key.data()
                assert connection.recv(100) == answer
        assert len(reports) == 1
        server.close()


@pytest.mark.parametrize(
    ("launcher", "gpu", "command"),
    [
        (
            "torchrun",
            0,
            "torchrun --nnodes 3 --node-rank 2 --master-addr 10.0.0.1 --master-port 29500 "
            "--nproc-per-node 2 t.py",
        ),
        (
            "accelerate",
            2,
            "accelerate launch --multi_gpu --num_processes 6 --num_machines 3 --mixed_precision "
            "no --dynamo_backend no --main_process_port 29500 --machine_rank 2 "
            "--main_process_ip 10.0.0.1 t.py",
        ),
    ],
)
def test_the_command_of_a_node(launcher: str, gpu: float, command: str) -> None:
    settings = {"process_launcher": launcher, "processes": 2, "nodes": 3, "gpu": gpu}
    config = TrialConfig(0, 0, 1, {}, **settings)
    words = launched(["python", "t.py"], config, 2, Rendezvous("10.0.0.1", 29500))
    assert " ".join(words) == command


def test_processes_are_those_of_a_node() -> None:
    resources = Resources(gpu=4, launcher="torchrun", nodes=2)
    assert (resources.num_processes, resources.is_spread) == (4, True)
    assert not Resources(launcher="torchrun", nodes=2, placement="pack").is_spread

"""`hpsearch.search` in the kernel of a notebook, which is interrupted in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support.polling import wait_until

DEFINE = """
import signal, threading, time
from pathlib import Path
import hpsearch

def train(config, trial):
    for epoch in range(trial.epoch + 1, trial.max_epochs + 1):
        Path(f"epoch-{epoch}").touch()
        time.sleep(config["pause"])
        yield {"accuracy": config["x"] + epoch}

def search(pause, trials, max_epochs):
    return hpsearch.search(
        train, space={"x": hpsearch.Float(0, 1), "pause": pause}, metric="accuracy",
        trials=trials, max_epochs=max_epochs, resources={"cpu": 1}, max_concurrent=1,
    )

handler, threads = signal.getsignal(signal.SIGINT), threading.active_count()
"""
#: trains on until it is interrupted
INTERRUPTED = "first = search(0.05, 1, 100_000); print(first.state)"
AFTER = """
print(first.state, *[trial.outcome.value for trial in first.record.trials])
print(signal.getsignal(signal.SIGINT) is handler, threading.active_count() == threads)
"""
AGAIN = "second = search(0.0, 2, 2); print(second.state, second.best.epochs)"


class Kernel:
    """A kernel, and what its cells show."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        pid = self.manager.provisioner.pid
        assert pid is not None
        self.process = psutil.Process(pid)

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; returns the messages by which it shows something."""
        return self.finish(self.client.execute(code))

    def finish(self, cell: str) -> list[dict[str, Any]]:
        """Wait for the end of a cell that `client.execute` began."""
        shown: list[dict[str, Any]] = []
        while not shown or shown[-1]["content"].get("execution_state") != "idle":
            message = self.client.get_iopub_msg(timeout=100)
            if message["parent_header"].get("msg_id") == cell:
                shown.append(message)
        assert not [each["content"] for each in shown if each["msg_type"] == "error"]
        return shown


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)


def text_of(shown: list[dict[str, Any]]) -> str:
    """Return what a cell printed."""
    return "".join(
        each["content"]["text"] for each in shown if each["content"].get("name") == "stdout"
    )


def tables_of(shown: list[dict[str, Any]]) -> list[str]:
    """Return what the table of a cell was, one after another; what is cleared is not seen."""
    kinds = [each["msg_type"] for each in shown]
    assert "clear_output" not in kinds
    assert kinds.count("display_data") == 1
    return [
        each["content"]["data"]["text/html"]
        for each in shown
        if each["msg_type"] in ("display_data", "update_display_data")
    ]


def test_an_interrupted_search_ends_and_the_kernel_goes_on(
    kernel: Kernel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kernel.run(DEFINE)

    cell = kernel.client.execute(INTERRUPTED)
    wait_until((tmp_path / "epoch-3").exists, 100)
    kernel.manager.interrupt_kernel()
    shown = kernel.finish(cell)
    assert text_of(shown) == "train: checking it while Ray starts\nstopped\n"
    first, *_, last = tables_of(shown)
    assert "train: 0/1 trial," in first
    assert "best accuracy" in last
    assert text_of(kernel.run(AFTER)) == "stopped cancelled\nTrue True\n"
    assert kernel.process.children(recursive=True) == []

    shown = kernel.run(AGAIN)
    assert text_of(shown) == "train-2: checking it while Ray starts\nfinished 2\n"
    assert "train-2: 2/2 trials" in tables_of(shown)[-1]
    assert kernel.process.children(recursive=True) == []
    assert "Traceback" not in capfd.readouterr().err

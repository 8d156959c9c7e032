"""What a trial leaves in its process is put back, ended, or named where neither can be."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from hpsearch.process import keep_process
from hpsearch.training.user_code import lockstep
from hpsearch.training.user_code.process_state import ProcessState


@pytest.fixture(autouse=True)
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(lockstep, "abandoned", [])
    restore = keep_process()
    yield
    restore()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a thread waits for; it is let go at the end."""
    event = threading.Event()
    yield event
    event.set()


def hook(*arguments: Any) -> None:
    """Does nothing."""


def test_what_can_be_put_back_is() -> None:
    state = ProcessState()
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.nn.modules.module.register_module_forward_hook(hook)
    os.environ["LEFT_BY_A_TRIAL"] = "1"
    signal.signal(signal.SIGUSR1, hook)
    logging.getLogger("left.by.a.trial").addHandler(logging.NullHandler())
    assert state.restore() == ""
    assert torch.get_default_dtype() is torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.nn.modules.module._global_forward_hooks
    assert "LEFT_BY_A_TRIAL" not in os.environ
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert logging.getLogger("left.by.a.trial").handlers == []


def test_a_process_that_still_runs_is_ended_and_named(released: threading.Event) -> None:
    state = ProcessState()
    process = multiprocessing.get_context("fork").Process(target=released.wait, name="left")
    process.start()
    assert state.restore() == "the process left"
    process.join()
    assert process.exitcode == -signal.SIGTERM


def test_a_process_that_ran_before_goes_on(released: threading.Event) -> None:
    process = multiprocessing.get_context("fork").Process(target=released.wait)
    process.start()
    assert ProcessState().restore() == ""
    assert process.is_alive()
    process.terminate()
    process.join()


def test_a_thread_that_still_runs_is_named(released: threading.Event) -> None:
    state = ProcessState()
    threading.Thread(target=released.wait, name="left").start()
    assert state.restore() == "the thread left"


def test_threads_of_pools_and_daemons_are_no_harm(released: threading.Event) -> None:
    state = ProcessState()
    pool = ThreadPoolExecutor(1)
    pool.submit(hook).result()
    threading.Thread(target=released.wait, daemon=True).start()
    assert state.restore() == ""
    pool.shutdown()


def test_loaders_see_dead_workers_in_each_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    # loaders of other tests may have set it
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    monkeypatch.setattr("torch.utils.data._utils.signal_handling._SIGCHLD_handler_set", False)
    for _ in range(2):
        state = ProcessState()
        rows = TensorDataset(torch.arange(8.0))
        loader = DataLoader(rows, 4, num_workers=1, multiprocessing_context="fork")
        assert len(list(loader)) == 2
        assert signal.getsignal(signal.SIGCHLD) is not signal.SIG_DFL
        del loader
        assert state.restore() == ""
        assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL

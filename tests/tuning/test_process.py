"""What searches and their parts leave of a caller's process: nothing."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from hpsearch.components import Data
from hpsearch.errors import HpsearchError
from hpsearch.process import (
    borrowed_process,
    environment,
    kept_logging,
    quiet,
    yield_processor,
)
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer
from hpsearch.validation import check_spec
from tests.support.leaving import CODE, differences, state
from tests.support.specs import make_spec

VALUES = {
    "model": {"name": "mlp", "hidden_sizes": [4], "dropout": 0.2},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 32,
}


def test_searches_leave_the_caller_s_process_as_they_found_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.leaving", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert "never trains" in found["error"][0]
    assert found["best"] == ["True"]
    for left in ("import", "fails", "ends"):
        assert found[left] == [], left
    assert found["threads"][0] == "MainThread"
    assert not [name for name in found["threads"] if "mlflow-tracker" in name]


def test_a_check_leaves_nothing_of_a_user_s_code(tmp_path: Path) -> None:
    (tmp_path / "leaving_code_checked.py").write_text(CODE)
    spec = make_spec(tmp_path, dataset="leaving_code_checked.py:load", batch_size=8)
    before = state()
    check_spec(spec)
    assert differences(before, state()) == []
    wrong = make_spec(tmp_path, dataset="leaving_code_checked.py:nothing")
    with pytest.raises(HpsearchError):
        check_spec(wrong)
    assert differences(before, state()) == []


def test_a_trainer_leaves_torch_s_random_state_and_draws_its_own(wine: Data) -> None:
    def curve() -> list[float]:
        trainer = Trainer(TrialConfig(0, 0, 2, VALUES), wine)
        return [metrics["train_loss"] for _ in range(2) if (metrics := trainer.train_epoch())]

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = curve()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert curve() == first


def test_one_process_that_is_borrowed_twice_is_left_by_the_last() -> None:
    before = os.environ.get("HPSEARCH_TEST")
    with borrowed_process():
        with borrowed_process():
            os.environ["HPSEARCH_TEST"] = "inner"
        assert os.environ["HPSEARCH_TEST"] == "inner"
    assert os.environ.get("HPSEARCH_TEST") == before


def test_what_is_changed_and_raises_is_put_back() -> None:
    before = state()
    logger = logging.getLogger("tests.process")
    logger.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="here"), borrowed_process():
        logging.root.setLevel(logging.DEBUG)
        logging.root.addHandler(logging.NullHandler())
        logger.setLevel(logging.CRITICAL)
        logging.disable(logging.INFO)
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        sys.path.insert(0, "/nowhere")
        random.random()
        np.random.random()
        torch.rand(1)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        raise ValueError("here")
    assert differences(before, state()) == []
    assert logger.level == logging.INFO


def test_what_a_caller_set_of_torch_is_not_a_search_s() -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode():
            with borrowed_process():
                with borrowed_process():
                    pass
                made = torch.ones(1, requires_grad=True) * 2
            assert torch.is_inference_mode_enabled()
        assert (made.dtype, made.device.type, made.requires_grad) == (torch.float32, "cpu", True)
        assert torch.get_default_dtype() is torch.float64
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)


def test_environment_variables_are_put_back_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPSEARCH_A", "before")
    monkeypatch.delenv("HPSEARCH_B", raising=False)
    with environment({"HPSEARCH_A": "1", "HPSEARCH_B": "2"}):
        assert (os.environ["HPSEARCH_A"], os.environ["HPSEARCH_B"]) == ("1", "2")
    assert os.environ["HPSEARCH_A"] == "before"
    assert "HPSEARCH_B" not in os.environ


def test_a_quiet_logger_says_what_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("tests.quiet")
    with caplog.at_level(logging.INFO, "tests.quiet"):
        with quiet("tests.quiet"):
            logger.info("a study was made")
            logger.warning("a study was lost")
        logger.info("and then")
    assert caplog.messages == ["a study was lost", "and then"]
    assert logger.filters == []


def test_loggers_are_put_back_one_by_one() -> None:
    logger = logging.getLogger("tests.kept")
    with kept_logging():
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    assert (logger.handlers, logger.propagate) == ([], True)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness")
def test_a_thread_that_yields_leaves_the_others_their_priority() -> None:
    found = []

    def work() -> None:
        yield_processor()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [19]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before < 19

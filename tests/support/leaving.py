"""A program of its own, for `test_process`: a caller whose process two searches must not change.

It prints, as JSON, what differs after each of them.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

CODE = """
import os, random, signal, sys, warnings
import numpy as np, torch

def load():
    "A data factory that changes all that it can of its process."
    os.environ["LEFT_BY_USER_CODE"] = "1"
    os.chdir("/")
    random.seed(1); np.random.seed(1); torch.manual_seed(1)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    torch.set_num_threads(3)
    x = np.random.default_rng(0).normal(size=(60, 4))
    return x, (x[:, 0] > 0).astype(int)

def fails(config, trial):
    raise ValueError("never trains")
"""
SPEC = """
name: {name}
objective: {{metric: val_accuracy}}
{trial}
search: {{trials: 1, max_concurrent: 1, early_stopping: {{max_epochs: 1}}, stop_after_failures: 1}}
"""
ENDS = """
dataset: {name: "leaving_code.py:load", test_fraction: 0.2}
model: {name: mlp, hidden_sizes: [4]}
optimizer: {name: sgd, lr: {low: 0.01, high: 0.1}}
batch_size: 8
"""
FAILS = 'trainable: "leaving_code.py:fails"\nspace: {x: {low: 0.0, high: 1.0}}'


def state() -> dict[str, Any]:
    """Return all of the process that others may have set."""
    return {
        "environment": dict(os.environ),
        "signals": {each.name: str(signal.getsignal(each)) for each in signal.Signals},
        "loggers": _loggers(),
        "logging.disable": logging.root.manager.disable,
        "warnings": [str(each) for each in warnings.filters],
        "showwarning": str(warnings.showwarning),
        "random": str(random.getstate()),
        "numpy.random": str(np.random.get_state()),
        "torch.random": torch.get_rng_state().tolist(),
        "threads of torch": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "dtype and device": [str(torch.get_default_dtype()), str(torch.get_default_device())],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "denormals": (torch.tensor(torch.finfo(torch.float32).tiny) / 2).item(),
        "matmul": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "numpy's errors": str(np.geterr()),
        "numpy's prints": str(np.get_printoptions()),
        "folder": os.getcwd(),
        # Ray's own packages are found like others that are installed
        "sys.path": [entry for entry in sys.path if "site-packages" not in entry],
        "hooks": [str(sys.excepthook), str(threading.excepthook), str(sys.breakpointhook)],
        "faulthandler": faulthandler.is_enabled(),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
        "limits": {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        "interpreter": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled()],
        "locale": locale.setlocale(locale.LC_ALL),
        "streams": [str(sys.stdin), str(sys.stdout), str(sys.stderr)],
    }


def _loggers() -> dict[str, str]:
    loggers = {"root": logging.root, **logging.root.manager.loggerDict}
    return {
        name: str((each.level, each.handlers, each.filters, each.propagate, each.disabled))
        for name, each in loggers.items()
        if isinstance(each, logging.Logger)
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Say what differs; loggers that are new were made by libraries as they were imported."""
    found = []
    for name, value in before.items():
        now = after[name]
        if name == "loggers":
            now = {each: now.get(each) for each in value}
        if value != now:
            found.append(f"{name}: {value} is {now}"[:1000])
    return found


def main(folder: Path) -> None:
    """Run a search that fails and one that ends, and print what each left."""
    (folder / "leaving_code.py").write_text(CODE)
    for name, trial in {"fails": FAILS, "ends": ENDS}.items():
        (folder / f"{name}.yaml").write_text(SPEC.format(name=name, trial=trial))
    import optuna  # noqa: F401  # a caller's own, which tells of each study

    before, found = state(), {}
    import hpsearch
    from hpsearch import load_spec, run_search

    found["import"] = differences(before, state())
    try:
        run_search(load_spec(folder / "fails.yaml"), folder / "runs")
    except hpsearch.HpsearchError as error:
        found["error"] = [str(error)]
    found["fails"] = differences(before, state())
    report = run_search(load_spec(folder / "ends.yaml"), folder / "runs")
    report.to_html()
    found["ends"] = differences(before, state())
    found["best"] = [str(report.best is not None)]
    found["threads"] = [each.name for each in threading.enumerate()]
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

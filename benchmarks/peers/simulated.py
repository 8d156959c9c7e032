"""Peers of the simulated searches by name; their packages are imported when one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.tables import Task
    from hpsearch.early_stopping import EarlyStopper

#: name in the table → (module, class, package that it needs); classes that make several take
#: the name first
PEERS: Mapping[str, tuple[str, str, str]] = {
    "optuna_halving": ("optuna_study", "OptunaStudy", "optuna"),
    "optuna_hyperband": ("optuna_study", "OptunaStudy", "optuna"),
    "syne_asha": ("syne_tune_scheduler", "SyneTuneScheduler", "syne-tune"),
    "syne_bohb": ("syne_tune_scheduler", "SyneTuneScheduler", "syne-tune"),
    "syne_cqr": ("syne_tune_scheduler", "SyneTuneScheduler", "syne-tune"),
    "syne_bore": ("syne_tune_scheduler", "SyneTuneScheduler", "syne-tune"),
    "smac": ("smac_hyperband", "SmacHyperband", "smac"),
    "neps": ("neps_priorband", "NepsPriorBand", "neural-pipeline-search"),
    "one_epoch": ("one_epoch", "OneEpoch", "hpsearch"),
}


def make_peer(name: str, task: Task, seed: int) -> EarlyStopper:
    """Return a peer's sampler and rule in one."""
    module, factory, _ = PEERS[name]
    make: Callable[..., EarlyStopper] = getattr(
        import_module(f"benchmarks.peers.{module}"), factory
    )
    several = sum(each[1] == factory for each in PEERS.values()) > 1
    return make(name, task, seed) if several else make(task, seed)


def packages(names: list[str]) -> list[str]:
    """Return the packages of the peers among `names`."""
    return sorted({PEERS[name][2] for name in names if name in PEERS} - {"hpsearch"})

"""A command as a trial: any script, run as a process of its own.

`trainer` lets it run from epoch to epoch. `process` and `supervisor` start it and leave no process
behind; `server` takes its reports, `sources` reads what it writes instead, `epochs` makes epochs
of both, which `epoch_log` keeps; `arguments` passes the hyperparameters, `failures` says why it
ended.
"""

from hpsearch.training.command.failures import CommandError, LostProcessError
from hpsearch.training.command.trainer import CommandTrainer, TrialFolders

__all__ = ["CommandError", "CommandTrainer", "LostProcessError", "TrialFolders"]

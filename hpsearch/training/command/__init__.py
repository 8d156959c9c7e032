"""A command as a trial: any script, run as a process of its own.

`trainer` lets it run from epoch to epoch. `run` is one run of it: `process` and `supervisor` start
it and leave no process behind, `processes` and `nodes` start several ranks, on one node or more.
`server` takes its reports, `sources` read what it writes instead, to files (`file_sources`) and
loggers (`logger_sources`); `epochs` makes epochs of both, which `epoch_log` keeps. `arguments`
passes the hyperparameters, `environment` the variables, `failures` says why it ended.
"""

from hpsearch.training.command import file_sources, logger_sources  # noqa: F401 - registers them
from hpsearch.training.command.failures import CommandEnd, CommandError, LostProcessError
from hpsearch.training.command.folders import TrialFolders
from hpsearch.training.command.nodes import NodeCommand, NodeRun, OtherNodes
from hpsearch.training.command.trainer import CommandTrainer

__all__ = [
    "CommandEnd",
    "CommandError",
    "CommandTrainer",
    "LostProcessError",
    "NodeCommand",
    "NodeRun",
    "OtherNodes",
    "TrialFolders",
]

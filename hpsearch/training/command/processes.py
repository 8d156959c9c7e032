"""A command as several processes, each of which is a rank of one training."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hpsearch.spec import TrialConfig

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


@dataclass(frozen=True)
class Rendezvous:
    """Where the ranks of several nodes meet: on the first node, which has rank 0."""

    address: str
    port: int


def launched(
    words: Sequence[str], config: TrialConfig, node: int = 0, meeting: Rendezvous | None = None
) -> tuple[str, ...]:
    """Return the command that starts a trial's processes; the same one where there is one only.

    `node` is the number of the node on which it starts them, `meeting` is given where there are
    several. Ports are free ones, so that trials side by side don't meet.
    """
    if config.process_launcher is None:
        return tuple(words)
    # On CPUs accelerate starts one process only, and its scripts run under torchrun too.
    if config.process_launcher != "accelerate" or config.gpu == 0:
        start = ["torchrun", *_torchrun_options(config, node, meeting)]
        return (*start, *_program(words, "--no-python"))
    several = ["--multi_gpu"] if config.processes * config.nodes > 1 else []
    options = _accelerate_options(config, node, meeting)
    return ("accelerate", "launch", *several, *options, *_program(words, "--no_python"))


def _torchrun_options(config: TrialConfig, node: int, meeting: Rendezvous | None) -> Iterator[str]:
    if meeting is None:
        yield "--standalone"
    else:
        yield from ("--nnodes", str(config.nodes), "--node-rank", str(node))
        yield from ("--master-addr", meeting.address, "--master-port", str(meeting.port))
    yield from ("--nproc-per-node", str(config.processes))


def _accelerate_options(
    config: TrialConfig, node: int, meeting: Rendezvous | None
) -> Iterator[str]:
    settings = {
        "--num_processes": config.processes * config.nodes,
        "--num_machines": config.nodes,
        "--mixed_precision": "no",
        "--dynamo_backend": "no",
        "--main_process_port": meeting.port if meeting is not None else 0,
    }
    if meeting is not None:
        settings |= {"--machine_rank": node, "--main_process_ip": meeting.address}
    for option, value in settings.items():
        yield from (option, str(value))


def _program(words: Sequence[str], no_python: str) -> Sequence[str]:
    """Return what a launcher runs by Python, or, with this option, by itself."""
    is_ours = words[0] == sys.executable or _PYTHON.fullmatch(words[0])
    is_script = len(words) > 1 and (words[1] == "-m" or words[1].endswith(".py"))
    return words[1:] if is_ours and is_script else (no_python, *words)

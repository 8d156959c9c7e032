"""A command as several processes, each of which is a rank of one training."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from hpsearch.spec import TrialConfig

_PYTHON = re.compile(r"python(3(\.\d+)?)?")


def launched(words: Sequence[str], config: TrialConfig) -> tuple[str, ...]:
    """Return the command that starts a trial's processes; the same one where there is one only.

    Ports are free ones, so that trials side by side don't meet.
    """
    if config.process_launcher is None:
        return tuple(words)
    number, is_accelerate = str(config.processes), config.process_launcher == "accelerate"
    # On CPUs accelerate starts one process only, and its scripts run under torchrun too.
    if not is_accelerate or config.gpu == 0:
        start = ["torchrun", "--standalone", "--nproc-per-node", number]
        return (*start, *_program(words, "--no-python"))
    settings = {
        "--num_processes": number,
        "--num_machines": "1",
        "--mixed_precision": "no",
        "--dynamo_backend": "no",
        "--main_process_port": "0",
    }
    options = [word for option in settings.items() for word in option]
    several = ["--multi_gpu"] if config.processes > 1 else []
    return ("accelerate", "launch", *several, *options, *_program(words, "--no_python"))


def _program(words: Sequence[str], no_python: str) -> Sequence[str]:
    """Return what a launcher runs by Python, or, with this option, by itself."""
    is_ours = words[0] == sys.executable or _PYTHON.fullmatch(words[0])
    is_script = len(words) > 1 and (words[1] == "-m" or words[1].endswith(".py"))
    return words[1:] if is_ours and is_script else (no_python, *words)

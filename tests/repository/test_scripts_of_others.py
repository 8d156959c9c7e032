"""The scripts of `examples/`, as people have them: one line more at most, and each is a trial.

Each is killed in its first epoch's report, restarted, stopped after its second, restarted again,
and ends as it does without a search; the slow ones aren't stopped in between.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from hpsearch.space import SearchSpace
from hpsearch.spec import Command, SearchSpec, TrialConfig
from hpsearch.training.command import CommandTrainer, LostProcessError, TrialFolders
from hpsearch.training.command.arguments import invocation
from hpsearch.training.command.environment import command_path
from hpsearch.training.command.run import filled_values
from hpsearch.validation import load_checked_spec
from tests.support.examples import ROOT
from tests.support.space import draw

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/search.yaml"))
#: the others take minutes together on two cores; `make soak` kills and restarts them too
ALWAYS_KILLED = ("digits_argparse", "prints_only")
KILLED = [
    pytest.param(path, marks=() if path.name in ALWAYS_KILLED else pytest.mark.soak)
    for path in EXAMPLES
]
#: lines of a script that are there for hpsearch, beside imports
NUM_LINES = {"prints_only": 0, "timm_style": 0}
#: scripts that don't wait for a decision: where their copies sleep, so that the kill finds them
RUN_AHEAD = {"prints_only": '    print(f"Epoch', "timm_style": '        print(f"Test'}
#: scripts that import for seconds: they are killed and restarted, but not stopped as well
SLOW = {"accelerate_tracking", "ddp_torchrun", "lightning_project", "text_classification"}
WITHOUT_CHECKPOINTS = {"prints_only"}


def copy_of(path: Path, to: Path) -> SearchSpec:
    """Copy an example and return its checked spec."""
    folder = shutil.copytree(path, to / "script")
    if path.name in RUN_AHEAD:
        script, line = folder / "train.py", RUN_AHEAD[path.name]
        text = script.read_text()
        indent = line[: len(line) - len(line.lstrip())]
        assert text.count(line) == 1
        script.write_text(text.replace(line, f"{indent}__import__('time').sleep(0.2)\n{line}"))
    return load_checked_spec(folder / "search.yaml")


def config_of(spec: SearchSpec) -> TrialConfig:
    """Return a trial of a configuration that is drawn at random."""
    space = SearchSpace.of(spec)
    return TrialConfig(
        number=0,
        seed=0,
        max_epochs=spec.max_epochs,
        values=space.resolve(draw(space, random.Random(0))),
        metric=spec.objective.metric,
        command=spec.plain_command,
        metrics=spec.metrics,
        folder=spec.folder,
    )


@contextmanager
def trainer_of(config: TrialConfig, folders: TrialFolders) -> Iterator[CommandTrainer]:
    trainer = CommandTrainer(config, folders)
    try:
        yield trainer
    finally:
        trainer.close()


def session_of(pid: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return -1


def process_group(trainer: CommandTrainer) -> int:
    """Return the process group of the running script."""
    session = trainer._run._nodes.process._supervisor.pid
    pid = next(pid for pid in psutil.pids() if pid != session and session_of(pid) == session)
    (child, *_) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return os.getpgid(int(child))


def is_running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def train(trainer: CommandTrainer, epochs: int) -> list[float]:
    """Train up to an epoch and return the objective of each."""
    metric = trainer._config.metric
    return [trainer.train_epoch()[metric] for _ in range(trainer.epoch, epochs)]


def output_alone(config: TrialConfig, folder: Path) -> str:
    """Run the script without a search, with the trial's arguments; returns what it prints."""
    folders = TrialFolders(folder / "checkpoints", folder / "outputs")
    for path in (folders.checkpoints, folders.outputs):
        path.mkdir(parents=True)
    command = Command.model_validate(config.command)
    filled = filled_values(config, command, folders)
    called = invocation(command, config.values["space"], filled, folders.outputs)
    done = subprocess.run(
        called.words,
        cwd=config.folder,
        env={**os.environ, "PATH": command_path(), "OMP_NUM_THREADS": "1", **called.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", KILLED, ids=lambda path: path.name)
def test_a_script_is_killed_and_stopped_and_ends_as_alone(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = config_of(copy_of(path, tmp_path))
    folders = TrialFolders(tmp_path / "checkpoints", tmp_path / "outputs")
    with trainer_of(config, folders) as trainer:
        first = train(trainer, 1)
        os.killpg(process_group(trainer), signal.SIGKILL)
        with pytest.raises(LostProcessError, match="killed"):
            train(trainer, config.max_epochs)
    before: list[float] = []
    state = None
    if path.name not in SLOW:
        with trainer_of(config, folders) as trainer:
            before = train(trainer, 2)
            state, group = trainer.state_dict(), process_group(trainer)
        assert not is_running(group)
    capfd.readouterr()
    with trainer_of(config, folders) as trainer:
        if state is not None:
            trainer.load_state_dict(state)
        curve = [*before, *train(trainer, config.max_epochs)]
        assert trainer.train_epoch() is None
    output = capfd.readouterr().out
    assert curve[:1] == first
    assert (f"{first[0]:.6f}" in output) == (path.name in WITHOUT_CHECKPOINTS)
    assert f"{curve[-1]:.6f}" in output
    assert f"{curve[-1]:.6f}" in output_alone(config, tmp_path / "alone")


def lines_for_hpsearch(script: Path) -> set[int]:
    """Return the lines that use what is imported from hpsearch, without the imports."""
    tree = ast.parse(script.read_text())
    names = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if f"{getattr(node, 'module', '')}.{alias.name}".strip(".").startswith("hpsearch")
    }
    return {
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_script_has_one_line_for_hpsearch_at_most(path: Path) -> None:
    lines = [line for script in path.glob("*.py") for line in lines_for_hpsearch(script)]
    assert len(lines) == NUM_LINES.get(path.name, 1)


def test_there_are_ten_scripts() -> None:
    assert len(EXAMPLES) == 10

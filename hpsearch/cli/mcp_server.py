"""What `hpsearch mcp` offers to agents, as tools of the Model Context Protocol.

A tool reads and writes what its user could by the command line: a runs folder, or a service with
the user's token and rights. Results are those of `--json`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from hpsearch.cli.acts import whole
from hpsearch.cli.plain import plain_search, plain_value
from hpsearch.cli.searches import Searches
from hpsearch.errors import HpsearchError
from hpsearch.spec import Scalar

_P = ParamSpec("_P")
_R = TypeVar("_R")

INSTRUCTIONS = """\
Hyperparameter searches for PyTorch. Write a spec as a YAML file, `validate` it, `submit` it, look
at its `status` until its state is finished, then at `best`, and at `diagnose`, which says what the
learning curves show and what to change. While it runs you can `stop_trial`, `extend_trial`,
`clone_trial` with other values, `narrow` a range, `pause` and `resume` it; its record names your
user as who did it. `next_spec` continues from what a search has found.
"""
_READS = ToolAnnotations(read_only_hint=True)


def make_server(searches: Searches) -> MCPServer:
    """Return a server over the searches of a folder or of a service."""
    server = MCPServer("hpsearch", instructions=INSTRUCTIONS)
    tools = Tools(searches)
    for read in (
        tools.validate,
        tools.list_searches,
        tools.status,
        tools.diagnose,
        tools.best,
        tools.compare,
        tools.next_spec,
    ):
        server.tool(annotations=_READS)(_told(read))
    for change in (
        tools.submit,
        tools.stop_trial,
        tools.extend_trial,
        tools.clone_trial,
        tools.narrow,
        tools.pause,
        tools.resume,
    ):
        server.tool()(_told(change))
    return server


class Tools:
    """The tools; their docstrings are what agents read."""

    def __init__(self, searches: Searches) -> None:
        self._searches = searches

    def validate(self, spec: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
        """Check a spec, its components, code and data, on this machine, without running it.

        `spec` is the path of a YAML file; `overrides` are texts such as `search.trials=8`. Returns
        the hyperparameters that would be searched, and warnings. An error lists every mistake
        with its place, the rule, the value and what may have been meant.
        """
        from hpsearch.cli.specs import plain_validation

        return _plain(plain_validation(Path(spec), list(overrides)))

    def submit(
        self, spec: str, overrides: Sequence[str] = (), working_dir: str | None = None
    ) -> dict[str, Any]:
        """Start a search in the background; returns its name and state.

        `spec` is the path of a YAML file, whose folder has the code that it names. To a service
        that code is sent: `working_dir` is the folder to send, and must be given there.
        """
        folder = None if working_dir is None else Path(working_dir)
        name = self._searches.submit(Path(spec), list(overrides), folder, 0)
        return self.status(name)

    def stop_trial(self, name: str, trial: int) -> dict[str, Any]:
        """Stop a trial of a running search; its slot goes to the next one."""
        return self._act(name, "stop_trial", trial=trial)

    def extend_trial(self, name: str, trial: int, to_epoch: int) -> dict[str, Any]:
        """Train a trial to an epoch, though early stopping ended or would end it."""
        return self._act(name, "extend_trial", trial=trial, to_epoch=to_epoch)

    def clone_trial(self, name: str, trial: int, values: dict[str, Scalar]) -> dict[str, Any]:
        """Try a trial's configuration with other values, by the names of hyperparameters.

        Returns the act; `made` is the number of the new trial.
        """
        return self._act(name, "clone_trial", trial=trial, values=values)

    def narrow(
        self, name: str, parameter: str, low: float | None = None, high: float | None = None
    ) -> dict[str, Any]:
        """Narrow a hyperparameter's range for the trials to come; an end not given stays."""
        return self._act(name, "narrow", parameter=parameter, low=whole(low), high=whole(high))

    def pause(self, name: str) -> dict[str, Any]:
        """Pause a running search after its trials' epochs; `resume` goes on."""
        return self._act(name, "pause")

    def resume(self, name: str) -> dict[str, Any]:
        """Go on, in the background, with a search that was paused, stopped or interrupted."""
        self._searches.resume_in_background(name)
        return self.status(name)

    def list_searches(self) -> dict[str, Any]:
        """List the searches, with states and best values."""
        return _plain({"searches": [plain_search(each) for each in self._searches.list(False)]})

    def status(self, name: str, targets: Sequence[float] = ()) -> dict[str, Any]:
        """Return how far a search is: its state, trials, epochs, seconds, best value.

        `targets` are values of the objective; of each it says at which trial, after how many
        epochs of all trials and after how many seconds the search first came to it.
        """
        found = plain_search(self._searches.find(name))
        if targets:
            found["targets"] = self._searches.reached(name, targets)
        return _plain(found)

    def diagnose(self, name: str, trial: int | None = None) -> dict[str, Any]:
        """Say what the learning curves of a search's trials, or of one, show, and what to try.

        Returns findings by the number of the trial; a trial without any isn't listed.
        """
        found = self._searches.explain(name, trial)
        return _plain({number: [asdict(each) for each in said] for number, said in found.items()})

    def best(self, name: str) -> dict[str, Any]:
        """Return the best configuration with its scores, and as a spec that can be run again."""
        return _plain(self._searches.best(name))

    def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the states and the best configurations of several searches side by side."""
        return _plain({"searches": [self._compared(name) for name in names]})

    def next_spec(
        self, name: str, new_name: str = "", trials: int | None = None
    ) -> dict[str, Any]:
        """Return the spec of a search that continues from what this one found, as YAML.

        The search space as the best trials suggest, under `new_name` (default: NAME-next), with
        `warm_start` from this search, if it may have one. `changes` says which ranges and choices
        are other ones, and why. Write the spec to a file to submit it.
        """
        from hpsearch.spec import dump_yaml, read_text

        found = self._searches.next_spec(name, new_name)
        overrides = [] if trials is None else [f"search.trials={trials}"]
        with tempfile.TemporaryDirectory() as folder:
            draft = read_text(dump_yaml(found["spec"]), name, folder, overrides)
        if draft.spec is None:
            raise HpsearchError("; ".join(map(str, draft.problems)))
        return _plain({"changes": found["changes"], "spec": draft.spec.to_yaml()})

    def _act(self, name: str, action: str, **what: Any) -> dict[str, Any]:
        """Act on a running search; returns the act, whose state is done, or waiting for the
        search's driver."""
        return _plain(self._searches.act(name, action, **what))

    def _compared(self, name: str) -> dict[str, Any]:
        found = plain_search(self._searches.find(name))
        has_best = found["summary"].get("best_trial") is not None
        best = self._searches.best(name) if has_best else {}
        return found | {"best": {key: best.get(key) for key in ("params", "test_metrics")}}


def _told(tool: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return a tool whose errors that a user can mend reach the agent as they are."""

    @wraps(tool)
    def run(*arguments: _P.args, **keywords: _P.kwargs) -> _R:
        try:
            return tool(*arguments, **keywords)
        except HpsearchError as error:
            raise ToolError(str(error)) from error

    return run


def _plain(value: Any) -> dict[str, Any]:
    plain: dict[str, Any] = plain_value(value)
    return plain

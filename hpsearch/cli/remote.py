"""The searches of a service."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpsearch.cli.following import exit_status
from hpsearch.cli.searches import Budget, Code, Listed
from hpsearch.errors import ConflictError, Problem, SpecError
from hpsearch.service.client.http_client import Client
from hpsearch.spec import Draft, SearchSpec, dump_yaml, read_draft
from hpsearch.user_code import code_hashes

#: seconds that a user waits for a search's driver, and between two looks
WAIT_S, POLL_S = 10.0, 0.5
#: files of a spec's code that an error names
MAX_FILES = 3
if TYPE_CHECKING:
    from hpsearch.analysis.diagnosis import Diagnosis

#: what another user's log could do to a terminal; colours may stay
_UNFIT = re.compile(r"(?!\x1b\[[\d;]*m)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class RemoteSearches:
    """Does what `Searches` says by HTTP; searches run on the service's cluster."""

    def __init__(self, url: str, token: str) -> None:
        self._client = Client(url, token)

    def list(self, mine: bool) -> Sequence[Listed]:
        """See Searches."""
        return [_listed(each) for each in self._client.searches(mine=mine, limit=1000)]

    def find(self, name: str) -> Listed:
        """See Searches."""
        return _listed(self._client.search(name))

    def submit(
        self, spec: Path, overrides: Sequence[str], working_dir: Path | None, priority: int
    ) -> str:
        """See Searches."""
        if working_dir is None:
            _require_no_code(spec, overrides)
        text = _with_overrides(spec, overrides)
        return str(self._client.submit(text, working_dir, priority)["name"])

    def status(self, name: str) -> str:
        """See Searches."""
        return self._client.text(name, "status")

    def exit_status(self, name: str) -> int:
        """See Searches."""
        found = self._client.search(name)
        return exit_status(found["state"], found["summary"].get("best_trial") is not None)

    def logs(self, name: str, trial: int | None, follow: bool) -> Iterator[str]:
        """See Searches."""
        return (_UNFIT.sub("\ufffd", text) for text in self._client.logs(name, trial, follow))

    def stop(self, name: str) -> str:
        """See Searches."""
        self._client.act(name, "stop")
        return f"{name}: stopping; resume it with `hpsearch resume {name}`"

    def resume(self, name: str, address: str | None, code: Code) -> str:
        """See Searches."""
        _refuse(address, code)
        return f"{name}: {self._client.act(name, 'resume')['state']}"

    def resume_in_background(self, name: str) -> None:
        """See Searches."""
        self._client.act(name, "resume")

    def extend(self, name: str, budget: Budget, address: str | None, code: Code) -> str:
        """See Searches."""
        _refuse(address, code)
        return f"{name}: {self._client.act(name, 'extend', asdict(budget))['state']}"

    def repeat(self, name: str, seeds: int, address: str | None, code: Code) -> str:
        """See Searches."""
        _refuse(address, code)
        return f"{name}: {self._client.act(name, 'repeat', {'seeds': seeds})['state']}"

    def next_spec(self, name: str, new_name: str) -> dict[str, Any]:
        """See Searches."""
        return self._client.next_spec(name, new_name)

    def act(self, name: str, action: str, **what: Any) -> dict[str, Any]:
        """See Searches; waits for the search's driver for some seconds."""
        number = what.pop("trial", None)
        place = action if number is None else f"trials/{number}/{action.removesuffix('_trial')}"
        asked = self._client.act(name, place, what or None)
        deadline = time.monotonic() + WAIT_S
        while asked["state"] == "waiting" and time.monotonic() < deadline:
            time.sleep(POLL_S)
            acts = self._client.acts(name)
            asked = next((each for each in acts if each["id"] == asked["id"]), asked)
        if asked["refused"] is not None:
            raise ConflictError(asked["refused"])
        return asked

    def acts(self, name: str) -> Sequence[dict[str, Any]]:
        """See Searches."""
        return self._client.acts(name)

    def delete(self, name: str) -> None:
        """See Searches."""
        self._client.delete(name)

    def reached(self, name: str, targets: Sequence[float]) -> Sequence[dict[str, Any]]:
        """See Searches."""
        return self._client.reached(name, targets)

    def report(self, name: str, targets: Sequence[float]) -> tuple[str, str]:
        """See Searches."""
        wanted = "".join(f"&target={target!r}" for target in targets)
        where = f"{self._client.url}/api/v1/searches/{name}/report?form=html{wanted}"
        return self._client.text(name, "report", target=list(targets)), f"as a page: {where}"

    def explain(self, name: str, trial: int | None) -> Mapping[int, Sequence[Diagnosis]]:
        """See Searches."""
        from hpsearch.analysis.diagnosis import Diagnosis

        found = self._client.diagnoses(name, trial)
        return {
            int(number): [Diagnosis(**each) for each in said] for number, said in found.items()
        }

    def spec(self, name: str) -> str:
        """See Searches."""
        return str(self._client.search(name)["spec"])

    def best(self, name: str) -> dict[str, Any]:
        """See Searches."""
        return self._client.best(name)

    def download(self, name: str, folder: Path, ensemble: bool = False) -> Path:
        """See Searches."""
        return self._client.download(name, folder, ensemble)


def _listed(each: Mapping[str, Any]) -> Listed:
    name, state, summary = each["name"], each["state"], each["summary"]
    return Listed(name, state, summary, each["owner"], each["reason"] or "")


def _with_overrides(path: Path, overrides: Sequence[str]) -> str:
    """Return a spec's text, which stays as it was written unless something is replaced."""
    draft = read_draft(path, overrides)
    if overrides:
        return dump_yaml(dict(draft.raw))
    return path.read_text()


def _checked(draft: Draft) -> SearchSpec:
    """Raise SpecError with all mistakes of a draft, of meaning too."""
    from hpsearch.validation import check  # imports torch

    return check(draft)


def _require_no_code(path: Path, overrides: Sequence[str]) -> None:
    """Raise SpecError for a spec with code of the user's, which the service wouldn't have.

    A spec that can't be read may name code too: its mistakes are told here, since the service
    would miss that code beside them.
    """
    draft = read_draft(path, overrides)
    spec = draft.spec or _checked(draft)
    if files := list(code_hashes(spec)):
        rule = f"must be given: the spec needs {', '.join(files[:MAX_FILES])}"
        rule += f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
        hint = f"its folder is sent by `--working-dir {shlex.quote(str(path.parent))}`"
        hint += " (an agent's `working_dir`)"
        raise SpecError([Problem("--working-dir", rule, hint=hint)])


def _refuse(address: str | None, code: Code) -> None:
    given = {"--address": address, "--folder": code.folder, "--changed-code": code.changed or None}
    rule = "must not be given: the service keeps the submitted code"
    problems = [Problem(name, rule, value) for name, value in given.items() if value is not None]
    if problems:
        raise SpecError(problems)

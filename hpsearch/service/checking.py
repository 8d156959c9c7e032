"""The check of a spec at its submission: what `hpsearch validate` says, and the service's rules.

It imports and calls the user's code, so it is done in a process of its own, which has neither
the service's environment nor its connections, and not for long.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpsearch.errors import HpsearchError, Problem, SpecError
from hpsearch.service.problems import ToldProblem
from hpsearch.service.settings import plain_environment
from hpsearch.spec import read_text

TIMEOUT_S = 120.0
MAX_ANSWER = 10_000_000


def check_submission(text: str, folder: Path, data_folders: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the resolved spec of a YAML text, as plain values, whose code lies in `folder`.

    Raises SpecError with every problem.
    """
    read_text(text, "spec", folder)  # what is no mapping in YAML needs no process
    with tempfile.TemporaryDirectory(prefix="hpsearch-check-") as place:
        answer = Path(place) / "answer.json"
        request = {
            "text": text,
            "folder": str(folder),
            "data_folders": list(map(str, data_folders)),
        }
        command = [sys.executable, "-m", "hpsearch.service.checking", str(answer)]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(request),
                cwd=place,
                env=plain_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            rule = f"must be checked within {TIMEOUT_S:g} s, code and data included"
            raise SpecError([Problem("spec", rule)]) from error
        if not answer.is_file() or answer.stat().st_size > MAX_ANSWER:
            how = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            rule = "must be one whose code can be checked, but it ended the check's process"
            raise SpecError([Problem("spec", rule, how[:500])])
        found = json.loads(answer.read_text())
    if found["problems"]:
        raise SpecError([ToldProblem(**problem) for problem in found["problems"]])
    spec: dict[str, Any] = found["spec"]
    return spec


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Check a spec in this process."""
    from hpsearch.validation import check  # with torch: the service has no use for it here

    problems: list[Problem] = []
    spec = None
    try:
        draft = read_text(request["text"], "spec", request["folder"])
        problems += _foreign_places(draft.raw, Path(request["folder"]), request["data_folders"])
        if not problems:  # else the check would read what it must not
            spec = check(draft).to_dict()
        else:
            problems += draft.problems
    except SpecError as error:
        problems += error.problems
    except HpsearchError as error:
        problems.append(Problem("spec", str(error)))
    folder = f"{request['folder']}/"  # where the service keeps it is its own affair
    told = [_plain(problem) for problem in problems]
    for each in told:
        each |= {
            key: each[key].replace(folder, "") for key in ("rule", "value", "text") if each[key]
        }
    return {"spec": spec, "problems": told}


def _plain(problem: Problem) -> dict[str, Any]:
    has_value = problem != Problem(problem.path, problem.rule, nearest=problem.nearest)
    return {
        "path": problem.path,
        "rule": problem.rule,
        "value": repr(problem.value)[:500] if has_value else None,
        "nearest": problem.nearest,
        "text": str(problem),
    }


def _foreign_places(raw: Any, folder: Path, data_folders: Sequence[str]) -> Iterator[Problem]:
    """Yield where a spec names files outside its code and the shared data, or other stores."""
    for name in ("storage", "tracking_uri"):
        if raw.get(name) is not None:
            yield Problem(name, "must not be given: the service has its own", raw[name])
    allowed = [folder, *map(Path, data_folders)]
    for place, value in _texts(raw, ""):
        path = _as_path(place, value)
        if path is None:
            continue
        target = (folder / path).resolve()
        if not any(target.is_relative_to(each.resolve()) for each in allowed):
            yield Problem(place, "must be a file inside the uploaded folder", value)


def _as_path(place: str, value: str) -> str | None:
    """Return the path that a text names, if it does: `file.py:factory`, or anything with a /."""
    code = re.fullmatch(r"(.*\.py):\w+", value, re.DOTALL)
    if code is not None:
        return code[1]
    is_data = place.startswith("dataset.") or place.rpartition(".")[2] in ("path", "data_dir")
    if is_data or value.startswith(("/", "~")) or ".." in re.split(r"[/\\]", value):
        return value
    return None


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _texts(child, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _texts(child, f"{place}.{index}")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(_answer(json.load(sys.stdin))))

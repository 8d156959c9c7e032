"""The program that checks a spec: what `hpsearch validate` says, and the service's rules.

It imports and calls the user's code, unless it is only to read it. A line of JSON on standard
input says what to check; the answer, a line of JSON too, goes to standard output or a file.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hpsearch.errors import HpsearchError, Problem, SpecError
from hpsearch.service.checks.static import static_problems
from hpsearch.spec import read_text
from hpsearch.spec.settings import ALL_ALIKE

#: characters of a value, or of a rule, in an answer
_MAX_TEXT = 1000
MAX_PROBLEMS = 200


def check_request(request: dict[str, Any]) -> dict[str, Any]:
    """Check a spec: `text`, whose code lies in `folder`; `run` says whether code may run.

    Returns the resolved `spec` (None where something is wrong) and the `problems`.
    """
    from hpsearch.validation import check  # with torch

    problems: list[Problem] = []
    spec = None
    try:
        draft = read_text(request["text"], "spec", request["folder"])
        foreign = foreign_places(draft.raw, Path(request["folder"]), request["data_folders"])
        problems += foreign
        if problems:  # else the check would read what it must not
            problems += draft.problems
        elif request["run"]:
            spec = check(draft).to_dict()
        else:
            problems += [*draft.problems, *static_problems(draft)]
    except SpecError as error:
        problems += error.problems
    except HpsearchError as error:
        problems.append(Problem("spec", str(error)))
    folder = f"{request['folder']}/"  # where the service keeps it is its own affair
    return {
        "spec": spec,
        "problems": [_as_answer(each, folder) for each in problems[:MAX_PROBLEMS]],
    }


def foreign_places(
    raw: Any, folder: Path, data_folders: Sequence[str | Path]
) -> Iterator[Problem]:
    """Yield where a spec names files outside its code and the shared data, or other stores."""
    for name in ("storage", "tracking_uri"):
        if raw.get(name) is not None:
            yield Problem(name, "must not be given: the service has its own", raw[name])
    search = raw.get("search")
    named = search.get("warm_start") if isinstance(search, dict) else None
    if named in (ALL_ALIKE[0], list(ALL_ALIKE)):
        rule = "must name searches here: a service doesn't look through those of all its users"
        yield Problem("search.warm_start", rule, ALL_ALIKE[0])
    allowed = [folder, *map(Path, data_folders)]
    for place, value in _texts(raw, ""):
        path = _as_path(place, value)
        if path is None:
            continue
        target = (folder / path).resolve()
        if not any(target.is_relative_to(each.resolve()) for each in allowed):
            yield Problem(place, "must be a file inside the uploaded folder", value)


def _as_answer(problem: Problem, folder: str) -> dict[str, Any]:
    def short(text: str) -> str:
        return text.replace(folder, "")[:_MAX_TEXT]

    return {
        "path": short(problem.path),
        "rule": short(problem.rule),
        "value": short(repr(problem.value)) if problem.has_value else None,
        "text": short(str(problem)),
        "nearest": list(problem.nearest),
    }


def _as_path(place: str, value: str) -> str | None:
    """Return the path that a text names, if it does: `file.py:factory`, or anything with a /."""
    file, colon, factory = value.rpartition(":")
    if colon and file.endswith(".py") and factory.isidentifier():
        return file
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


def main() -> None:
    """Answer the request on standard input; users' code may print what it likes meanwhile."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.readline())
    answers.write(json.dumps(check_request(request)) + "\n")
    answers.flush()
    os._exit(0)  # threads and hooks of users' code have nothing more to say


if __name__ == "__main__":
    main()

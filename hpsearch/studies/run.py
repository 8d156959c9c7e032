"""Running a study: its searches are in a runs folder like any others, so it can be interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from hpsearch.errors import RunsError
from hpsearch.runs import Runs
from hpsearch.searches import resume_search, run_search
from hpsearch.studies.answers import Answer, answers, plain_study
from hpsearch.studies.study import Cell, Study, cells
from hpsearch.tuning.on_ray.cluster import ray_cluster

#: in a runs folder, what studies found
ANSWERS = ".studies"


def run_study(
    study: Study,
    runs: str | Path = "runs",
    *,
    address: str | None = None,
    on_search: Callable[[Cell, int, int], None] | None = None,
    progress: bool = True,
) -> list[Answer]:
    """Run the searches that aren't finished, and return the answers, written to the runs folder.

    All share one Ray cluster. `on_search` is told of each search before it runs: the search, its
    number from 1 on, and how many are left. Ctrl-C, which ends a search cleanly, ends the study
    too. Raises RunsError for a search of that name with another spec, KeyboardInterrupt once a
    search was stopped, and what `run_search` and `resume_search` raise.
    """
    place, planned = Runs(runs), cells(study)
    left = [cell for cell in planned if not _is_finished(cell, place)]
    with ray_cluster(address) if left else nullcontext() as cluster:
        if cluster is not None:  # all searches share it: starting it takes longer than they do
            cluster.slots(left[0].spec.resources, None)
        for number, cell in enumerate(left, 1):
            if on_search is not None:
                on_search(cell, number, len(left))
            if place.has(cell.spec.name):
                resume_search(cell.spec.name, runs, progress=progress)
            else:
                run_search(cell.spec, runs, progress=progress)
            if not _is_finished(cell, place):
                raise KeyboardInterrupt(f"{cell.spec.name} was stopped: the same command goes on")
    found = answers(study, planned, place)
    _write(study, found, place)
    return found


def _is_finished(cell: Cell, place: Runs) -> bool:
    """Whether a search of the study has been run; RunsError where it is another of that name."""
    name = cell.spec.name
    if not place.has(name):
        return False
    record = place.search(name).open_record()
    own, theirs = (each.to_dict() for each in (cell.spec, record.spec))
    for each in (own, theirs):
        each["search"] = {**each["search"], "warm_start": None}  # filled in as a search begins
    if own != theirs:
        rule = f"must be the study's, but its spec differs: `hpsearch delete {name}`"
        raise RunsError(f"search {name} {rule}, or give the study another name")
    return record.state == "finished"


def _write(study: Study, found: list[Answer], place: Runs) -> None:
    """Write the answers beside the searches' records, of which they can be made again."""
    folder = place.path / ANSWERS
    folder.mkdir(exist_ok=True)
    (folder / f"{study.name}.json").write_text(json.dumps(plain_study(study, found), indent=1))

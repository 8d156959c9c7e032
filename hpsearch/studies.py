"""Studies: which of several variants of a search does better, by searches with paired seeds.

A study's file has the spec that all share, its `variants` as what each replaces of it, and how
many `seeds`. Each variant is searched with each seed, so that a pair shares its split of the data,
its random draws and its trials' numbers, and differs by the variant alone. `cases`, such as depths
or data sets, are compared one by one and together. All searches are in a runs folder like any
other: a study that was interrupted goes on where it was.
"""

from __future__ import annotations

import copy
import json
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from hpsearch.analysis.blocks import Section, Table, as_rows
from hpsearch.analysis.comparison import Difference, paired
from hpsearch.errors import Problem, RunsError, SpecError, nearest_names
from hpsearch.formatting import show
from hpsearch.record import Record
from hpsearch.runs import Runs
from hpsearch.searches import resume_search, run_search
from hpsearch.spec import SearchSpec
from hpsearch.spec.reading import draft_of, read_mapping
from hpsearch.spec.trees import Frozen, rule_of
from hpsearch.tuning.on_ray.cluster import ray_cluster
from hpsearch.validation import check

#: where a study is found by its name alone
FOLDER = Path("search_spaces") / "studies"
#: in a runs folder, what studies found
ANSWERS = ".studies"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]
#: what a variant or a case replaces of the spec: values by their paths
Changes = dict[Annotated[str, Field(pattern=r"^[^=]+$")], Any]
#: what a study gives each search itself, and what all of its searches are compared by
_SET = ("name", "search.seed")
_COMPARED = ("objective", "objectives")


class Study(Frozen):
    """A question and the searches that answer it."""

    name: Name
    question: str
    seeds: int = Field(5, ge=2, le=1_000, description="searches of each variant in each case")
    variants: dict[Name, Changes] = Field(min_length=2, description="the first is the baseline")
    cases: dict[Name, Changes] = Field({}, description="what the variants are compared in")
    spec: dict[str, Any] = Field(description="what all searches have in common")
    folder: str = "."


@dataclass(frozen=True)
class Cell:
    """A search of a study."""

    case: str
    variant: str
    seed: int
    spec: SearchSpec


@dataclass(frozen=True)
class Answer:
    """What a study found in a case, or in all together (`case` is empty).

    `values` are the best objectives of each variant, by seed; `differences` those of the other
    variants and the first, in pairs.
    """

    case: str
    values: Mapping[str, list[float]]
    differences: list[Difference]


def load_study(name: str | Path) -> Study:
    """Read a study from a file, or by its name from `search_spaces/studies/`; raises SpecError."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        known = sorted(each.stem for each in FOLDER.glob("*.yaml"))
        if str(name) not in known:
            listed = ", ".join(known) or "none here"
            rule = f"must be a YAML file, or a study of {FOLDER} ({listed})"
            raise SpecError([Problem("study", rule, str(name), nearest_names(name, known))])
        path = FOLDER / f"{name}.yaml"
    raw = read_mapping(path)
    try:
        return Study.model_validate({**raw, "folder": str(path.parent)})
    except ValidationError as error:
        raise SpecError([_problem(entry) for entry in error.errors()]) from error


def cells(study: Study) -> list[Cell]:
    """Return the searches of a study, checked, seed by seed; SpecError with every problem.

    Its problems are at the case and the variant.
    """
    problems = list(_own_problems(study))
    if problems:
        raise SpecError(problems)
    found: list[Cell] = []
    for seed in range(study.seeds):
        for case, variant in _combinations(study):
            try:
                found.append(Cell(case, variant, seed, _spec(study, case, variant, seed)))
            except SpecError as error:
                places = ["cases", case] if case else []
                problems += error.below(*places, "variants", variant).problems
        if problems:  # they would be the same with each seed
            raise SpecError(problems)
    return found


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
    number from 1 on, and how many are left. Raises RunsError for a search of that name with
    another spec, and what `run_search` and `resume_search` raise.
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
    found = answers(study, planned, place)
    _write(study, found, place)
    return found


def answers(study: Study, planned: list[Cell], place: Runs) -> list[Answer]:
    """Compare the variants in each case, and in all together where there are several."""
    records = {
        (cell.case, cell.variant, cell.seed): place.search(cell.spec.name).open_record()
        for cell in planned
    }
    cases = list(study.cases) or [""]
    groups = [(case, [case]) for case in cases] + ([("", cases)] if len(cases) > 1 else [])
    return [_answer(study, name, members, records) for name, members in groups]


def answer_sections(study: Study, found: list[Answer]) -> list[Section]:
    """Return the answers as a report has them."""
    spec = study.spec["objective"]
    metric, direction = spec["metric"], spec.get("direction", "maximize")
    rows = as_rows(
        (each.case or "all", variant, show(statistics.fmean(values)), _spread(values))
        for each in found
        for variant, values in each.values.items()
    )
    texts = [
        f"{f'{each.case}: ' if each.case else ''}{difference.told(direction)}."
        for each in found
        for difference in each.differences
    ]
    header = ("case", "variant", f"mean `{metric}`", "deviation")
    return [Section(study.question, (Table(header, rows), *texts))]


def _own_problems(study: Study) -> Iterator[Problem]:
    """Yield what makes no study of searches that are valid one by one."""
    search = study.spec.get("search")
    seed = search.get("seed") if isinstance(search, Mapping) else None
    for path, value in zip(_SET, (study.spec.get("name"), seed), strict=True):
        if value is not None:
            yield Problem(f"spec.{path}", "must not be given: the study sets it", value)
    if study.spec.get("objectives") is not None:
        rule = "must not be given: a study compares by one objective"
        yield Problem("spec.objectives", rule, study.spec["objectives"])
    for section, entries in (("variants", study.variants), ("cases", study.cases)):
        for name, changes in entries.items():
            yield from _fixed_changes(f"{section}.{name}", changes)
    yield from _repeated(study)


def _fixed_changes(place: str, changes: Changes) -> Iterator[Problem]:
    for path, value in changes.items():
        if path in _SET:
            yield Problem(f"{place}.{path}", "must not be given: the study sets it", value)
        elif path.partition(".")[0] in _COMPARED:
            rule = "must not be changed: searches are compared by it"
            yield Problem(f"{place}.{path}", rule, value)


def _repeated(study: Study) -> Iterator[Problem]:
    """Yield variants that are alike, and searches that would share a name."""
    variants = list(study.variants.items())
    for number, (name, changes) in enumerate(variants):
        if alike := [other for other, theirs in variants[:number] if theirs == changes]:
            yield Problem(f"variants.{name}", f"must differ from the variant {alike[0]}", changes)
    names: dict[str, tuple[str, str]] = {}
    for case, variant in _combinations(study):
        name = "-".join(filter(None, (case, variant)))
        if name in names:
            rule = f"must not name its searches as {' and '.join(names[name])} do"
            yield Problem("cases", rule, f"{case} and {variant}")
        names[name] = (case, variant)


def _combinations(study: Study) -> Iterator[tuple[str, str]]:
    for case in study.cases or [""]:
        for variant in study.variants:
            yield case, variant


def _spec(study: Study, case: str, variant: str, seed: int) -> SearchSpec:
    """Return the checked spec of a search."""
    raw = copy.deepcopy(study.spec)
    raw["name"] = "-".join(filter(None, (study.name, case, variant, str(seed))))
    changes = {**study.cases.get(case, {}), **study.variants[variant], "search.seed": seed}
    texts = [f"{path}={json.dumps(value)}" for path, value in changes.items()]
    return check(draft_of(raw, study.folder, texts))


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


def _answer(
    study: Study,
    name: str,
    cases: list[str],
    records: Mapping[tuple[str, str, int], Record],
) -> Answer:
    pairs = [(case, seed) for case in cases for seed in range(study.seeds)]
    of = {v: [records[case, v, seed] for case, seed in pairs] for v in study.variants}
    first, *others = study.variants
    differences = [
        replace(paired(of[first], of[other]), first=first, second=other) for other in others
    ]
    values = {variant: [_best(record) for record in found] for variant, found in of.items()}
    return Answer(name, values, differences)


def _best(record: Record) -> float:
    value = None if record.best is None else record.objective(record.best)
    assert value is not None  # `paired` has refused a search without
    return value


def _spread(values: list[float]) -> str:
    return show(statistics.stdev(values)) if len(values) > 1 else ""


def _write(study: Study, found: list[Answer], place: Runs) -> None:
    """Write the answers beside the searches' records, of which they can be made again."""
    folder = place.path / ANSWERS
    folder.mkdir(exist_ok=True)
    plain = {"question": study.question, "answers": [plain_answer(each) for each in found]}
    (folder / f"{study.name}.json").write_text(json.dumps(plain, indent=1))


def plain_answer(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values."""
    differences = [vars(each) for each in answer.differences]
    return {"case": answer.case, "values": dict(answer.values), "differences": differences}


def _problem(entry: Any) -> Problem:
    *_, last = entry["loc"]
    path = ".".join(map(str, entry["loc"]))
    if entry["type"] == "extra_forbidden":
        near = nearest_names(last, Study.model_fields)
        return Problem(path, "must be a known key", last, near)
    if entry["type"] == "missing":
        return Problem(path, "must be given")
    return Problem(path, rule_of(entry["msg"]), entry["input"])

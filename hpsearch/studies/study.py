"""A study's file, and the searches that follow from it.

It has the spec that all share, its `variants` as what each replaces of it, and how many `seeds`.
Each variant is searched with each seed, so that a pair shares its split of the data, its random
draws and its trials' numbers, and differs by the variant alone. `cases`, such as depths or data
sets, are compared one by one and together.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from hpsearch.errors import Problem, SpecError, nearest_names
from hpsearch.spec import SearchSpec
from hpsearch.spec.reading import draft_of, read_mapping
from hpsearch.spec.trees import Frozen, rule_of
from hpsearch.studies.measures import MeasureName, measure_problems
from hpsearch.validation import check

#: where a study is found by its name alone
FOLDER = Path("search_spaces") / "studies"
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
    measure: MeasureName = Field("best", description="the value of a search that is compared")
    target: float | None = Field(
        None, allow_inf_nan=False, description="the objective that a search is to reach"
    )
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

    A problem is at the spec if all searches have it, else at the case and the variant.
    """
    problems = list(_own_problems(study))
    if problems:
        raise SpecError(problems)
    found: list[Cell] = []
    for seed in range(study.seeds):
        wrong: dict[str, tuple[Problem, list[tuple[str, str]]]] = {}
        for case, variant in _combinations(study):
            try:
                found.append(Cell(case, variant, seed, _spec(study, case, variant, seed)))
            except SpecError as error:
                for problem in error.problems:
                    wrong.setdefault(str(problem), (problem, []))[1].append((case, variant))
        if wrong:  # they would be the same with each seed
            every = ((problem, at) for problem, at in wrong.values())
            raise SpecError([p.below(*at) for p, of in every for at in _places(study, p, of)])
    measured = list(measure_problems(study.measure, study.target, found[0].spec))
    if measured:
        raise SpecError(measured)
    return found


def _places(
    study: Study, problem: Problem, having: list[tuple[str, str]]
) -> Iterator[tuple[str, ...]]:
    """Yield as few places as name all the searches that have a problem, and no other."""
    left = set(having)
    of_one_case = len(study.cases) == 1 and any(
        f"{problem.path}.".startswith(f"{path}.") for path in next(iter(study.cases.values()))
    )
    if left == set(_combinations(study)) and not of_one_case:
        yield ("spec",)
        return
    for case in study.cases:
        if (of_case := {(case, variant) for variant in study.variants}) <= left:
            yield "cases", case
            left -= of_case
    for variant in study.variants:
        of_variant = {(case, variant) for case in study.cases or [""]}
        if of_variant <= set(having) and of_variant & left:
            yield "variants", variant
            left -= of_variant
    for case, variant in having:
        if (case, variant) in left:
            yield "cases", case, "variants", variant


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


def _problem(entry: Any) -> Problem:
    *_, last = entry["loc"]
    path = ".".join(map(str, entry["loc"]))
    if entry["type"] == "extra_forbidden":
        near = nearest_names(last, Study.model_fields)
        return Problem(path, "must be a known key", last, near)
    if entry["type"] == "missing":
        return Problem(path, "must be given")
    return Problem(path, rule_of(entry["msg"]), entry["input"])

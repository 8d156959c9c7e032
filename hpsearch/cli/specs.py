"""Commands that read specs, and list the components that a spec can name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from hpsearch.cli.common import JsonOption, SetOption, SpecArgument, app, console
from hpsearch.cli.plain import plain_component, print_json
from hpsearch.errors import HpsearchError, SpecError
from hpsearch.formatting import show_count
from hpsearch.text_table import text_table

if TYPE_CHECKING:
    from hpsearch.record import DataNotes
    from hpsearch.spec import SearchSpec


@app.command()
def validate(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006  # typer's way
    cluster: Annotated[
        bool, typer.Option("--cluster", help="It runs elsewhere: this machine may have no GPUs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a spec, its components and its data, without running it."""
    from hpsearch.live import warning_lines
    from hpsearch.space import SearchSpace
    from hpsearch.spec import advice
    from hpsearch.validation.population import population_told

    if as_json:
        print_json(plain_validation(spec, overrides, is_elsewhere=cluster))
        return
    checked, notes = _checked(spec, overrides, is_elsewhere=cluster)
    parameters = SearchSpace.of(checked).parameters
    searched = show_count(len(parameters), "hyperparameter")
    console.print(f"{spec}: valid; {searched} to search", markup=False)
    if notes.description:
        console.print(f"data: {notes.description}", soft_wrap=True, highlight=False, markup=False)
    for line in warning_lines(notes, advice(checked)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if told := population_told(checked):
        console.print(told, soft_wrap=True, highlight=False, markup=False)
    rows = []
    for parameter in parameters:
        when = ", ".join(f"{name}={value}" for name, value in parameter.condition)
        rows.append((parameter.name, _describe(parameter.distribution), when))
    console.print(text_table(("hyperparameter", "distribution", "when"), rows))


@app.command()
def data(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Show how each column of a spec's data set is read, and which task is learned."""
    from hpsearch.spec import read_draft
    from hpsearch.validation.data import describe_dataset

    found = describe_dataset(read_draft(spec, overrides))
    if as_json and found.problem is None:
        columns = [asdict(column) for column in found.columns]
        plain = {"columns": columns, "learned": found.learned, "warnings": found.warnings}
        print_json(plain)
        return
    if found.columns and not as_json:
        rows = []
        for each in found.columns:
            reading, why = ("in doubt", each.doubt) if each.doubt else (each.reading, each.why)
            row = (each.column, reading, each.distinct, each.missing, each.example, why)
            rows.append(row)
        header = ("column", "reading", "distinct", "missing", "example", "why")
        console.print(text_table(header, rows))
    lines = [f"data: {found.learned}"] if found.learned else []
    lines += [f"warning: {text}" for text in found.warnings]
    for line in [] if as_json else lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if found.problem is not None:
        raise SpecError([found.problem])


@app.command()
def diagnose(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Run the checks of a trial at both ends of a spec's search space."""
    from hpsearch.spec import read_draft
    from hpsearch.validation import check_draft
    from hpsearch.validation.diagnosis import diagnose

    checked, data = check_draft(read_draft(spec, overrides), is_new=False)
    if data is None:
        other = "environment" if checked.environment else "command"
        own = "trainable" if checked.trainable else other
        rule = f"diagnose needs a spec with model and dataset; this one has {own}"
        raise HpsearchError(f"{spec}: {rule}")
    found = list(diagnose(checked, data))
    verdicts = ["ok" if finding.ok else finding.severity for _, finding in found]
    rows = [
        (name, finding.check, verdict, finding.message)
        for (name, finding), verdict in zip(found, verdicts, strict=True)
    ]
    if as_json:
        print_json({"findings": [{"trial": name, **asdict(each)} for name, each in found]})
    else:
        console.print(text_table(("trial", "check", "", "found"), rows))
    if "error" in verdicts:
        raise typer.Exit(1)


@app.command()
def components(
    family: Annotated[
        str | None, typer.Argument(help="A family, such as model or optimizer.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all as Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the components that a spec can name: keywords, defaults, recommended ranges."""
    from hpsearch import catalogue
    from hpsearch.errors import nearest_names

    if markdown:
        print(catalogue.to_markdown(), end="")
        return
    families = catalogue.families()
    if family is not None and family not in families:
        near = " or ".join(map(repr, nearest_names(family, families)))
        hint = (
            f"did you mean {near}? `hpsearch components` lists all"
            if near
            else f"known: {', '.join(families)}"
        )
        raise HpsearchError(f"no component family {family!r}; {hint}")
    chosen = [family] if family else families
    if as_json:
        print_json({each: _plain_family(each) for each in chosen})
        return
    for each in chosen:
        console.print(_component_table(each))


@app.command()
def schema(as_json: JsonOption = True) -> None:
    """Print the JSON schema of a spec, for editors; it is always JSON."""
    from hpsearch.schema import json_schema

    print_json(json_schema())


def plain_validation(
    spec: Path, overrides: Sequence[str], *, is_elsewhere: bool = False
) -> dict[str, Any]:
    """Check a spec, and return what would be searched; raises SpecError.

    Where it runs `is_elsewhere` this machine needn't have what it asks for.
    """
    from hpsearch.space import SearchSpace
    from hpsearch.spec import advice

    checked, notes = _checked(spec, overrides, is_elsewhere=is_elsewhere)
    return {
        "name": checked.name,
        "hyperparameters": [
            {
                "name": parameter.name,
                "distribution": _describe(parameter.distribution),
                "when": dict(parameter.condition),
            }
            for parameter in SearchSpace.of(checked).parameters
        ],
        "data": notes.description or None,
        "warnings": [*notes.told, *map(str, advice(checked))],
    }


def _checked(
    spec: Path, overrides: Sequence[str], *, is_elsewhere: bool
) -> tuple[SearchSpec, DataNotes]:
    from hpsearch.record import DataNotes
    from hpsearch.spec import read_draft
    from hpsearch.validation import check_draft, data_notes
    from hpsearch.validation.settings import machine_problems

    checked, data = check_draft(read_draft(spec, overrides))
    if not is_elsewhere and (problems := list(machine_problems(checked))):
        raise SpecError(problems)
    return checked, DataNotes() if data is None else data_notes(checked, data)


def _plain_family(family: str) -> dict[str, Any]:
    from hpsearch import catalogue

    return {
        "place": catalogue.place_of(family).replace("`", ""),
        "shared": [asdict(keyword) for keyword in catalogue.shared(family)],
        "components": [plain_component(*each) for each in catalogue.components(family)],
    }


def _component_table(family: str) -> Table:
    from hpsearch import catalogue

    title = f"{family}: {catalogue.place_of(family)}".replace("`", "")
    columns = ("name", "description", "keyword", "default", "auto")
    rows = []
    for component, keywords in catalogue.components(family):
        first = (component.name, component.summary)
        for keyword in keywords or [catalogue.Keyword("", "", "")]:
            row = (keyword.name, keyword.default, keyword.recommended)
            rows.append((*first, *row))
            first = ("", "")
    table = text_table(columns, rows, title=title, title_justify="left")
    if everywhere := catalogue.shared(family):
        which = catalogue.which_take(family)
        table.caption = f"keywords of {which}: {', '.join(map(str, everywhere))}"
    return table


def _describe(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return " | ".join(str(choice) for choice in distribution.choices)
    if hasattr(distribution, "exponents"):
        return f"powers of two, {distribution.low} to {distribution.high}"
    notes = ["log"] if distribution.log else []
    if distribution.step not in (None, 1):
        notes.append(f"step {distribution.step:g}")
    kind = "integer" if type(distribution).__name__ == "IntDistribution" else "real"
    return ", ".join([f"{kind} {distribution.low:g} to {distribution.high:g}", *notes])

"""Commands that read: specs, searches, and the components that a spec can name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hpsearch.cli.common import (
    RUNS,
    NameArgument,
    PlaceOption,
    RunsOption,
    ServiceOption,
    SetOption,
    SpecArgument,
    app,
    console,
)
from hpsearch.cli.open import open_searches
from hpsearch.errors import HpsearchError, SpecError
from hpsearch.formatting import show, show_count


class Output(StrEnum):
    """Form in which `best` prints."""

    SPEC = "spec"
    JSON = "json"


@app.command()
def validate(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006  # typer's way
    cluster: Annotated[
        bool, typer.Option("--cluster", help="It runs elsewhere: this machine may have no GPUs.")
    ] = False,
) -> None:
    """Check a spec, its components and its data, without running it."""
    from hpsearch.live import warning_lines
    from hpsearch.record import DataNotes
    from hpsearch.space import SearchSpace
    from hpsearch.spec import advice, read_draft
    from hpsearch.validation import check_draft, data_notes
    from hpsearch.validation.settings import machine_problems

    checked, data = check_draft(read_draft(spec, overrides))
    if not cluster and (problems := list(machine_problems(checked))):
        raise SpecError(problems)
    parameters = SearchSpace.of(checked).parameters
    searched = show_count(len(parameters), "hyperparameter")
    console.print(f"{spec}: valid; {searched} to search")
    notes = DataNotes() if data is None else data_notes(checked, data)
    if notes.description:
        console.print(f"data: {notes.description}", soft_wrap=True, highlight=False, markup=False)
    for line in warning_lines(notes, advice(checked)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    table = Table("hyperparameter", "distribution", "when", box=None)
    for parameter in parameters:
        when = ", ".join(f"{name}={value}" for name, value in parameter.condition)
        table.add_row(parameter.name, _describe(parameter.distribution), when)
    console.print(table)


@app.command()
def data(spec: SpecArgument, overrides: SetOption = []) -> None:  # noqa: B006  # typer's way
    """Show how each column of a spec's data set is read, and which task is learned."""
    from hpsearch.spec import read_draft
    from hpsearch.validation.data import describe_dataset

    found = describe_dataset(read_draft(spec, overrides))
    if found.columns:
        table = Table("column", "reading", "distinct", "missing", "example", "why", box=None)
        for each in found.columns:
            reading, why = ("in doubt", each.doubt) if each.doubt else (each.reading, each.why)
            row = (each.column, reading, each.distinct, each.missing, each.example, why)
            table.add_row(*(escape(str(cell)) for cell in row))
        console.print(table)
    lines = [f"data: {found.learned}"] if found.learned else []
    for line in (*lines, *(f"warning: {text}" for text in found.warnings)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if found.problem is not None:
        raise SpecError([found.problem])


@app.command()
def diagnose(spec: SpecArgument, overrides: SetOption = []) -> None:  # noqa: B006  # typer's way
    """Run the checks of a trial at both ends of a spec's search space."""
    from hpsearch.spec import read_draft
    from hpsearch.validation import check_draft
    from hpsearch.validation.diagnosis import diagnose

    checked, data = check_draft(read_draft(spec, overrides), is_new=False)
    if data is None:
        own = "trainable" if checked.trainable else "command"
        rule = f"diagnose needs a spec with model and dataset; this one has {own}"
        raise HpsearchError(f"{spec}: {rule}")
    table = Table("trial", "check", "", "found", box=None)
    failed = False
    for name, finding in diagnose(checked, data):
        verdict = "ok" if finding.ok else finding.severity
        failed |= verdict == "error"
        table.add_row(name, finding.check, verdict, finding.message)
    console.print(table)
    if failed:
        raise typer.Exit(1)


@app.command()
def explain(
    name: NameArgument,
    trial: Annotated[int | None, typer.Option(help="Only this trial.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs: RunsOption = RUNS,
) -> None:
    """Say what the learning curves of a search's trials show, and what to try."""
    from hpsearch.result import open_search

    report = open_search(name, runs)
    numbers = [each.number for each in report.record.trials]
    if trial is not None and trial not in numbers:
        raise HpsearchError(f"{name} has no trial {trial}; it has {len(numbers)}")
    found = {number: said for number, said in report.diagnoses.items() if trial in (None, number)}
    if as_json:
        plain = {number: [asdict(each) for each in said] for number, said in found.items()}
        console.print_json(json.dumps(plain))
        return
    for number, said in found.items():
        for each in said:
            console.print(f"trial {number}: {each}", soft_wrap=True, highlight=False, markup=False)
    if not found:
        what = f"trial {trial}" if trial is not None else show_count(len(numbers), "trial")
        console.print(f"nothing stands out in the curves of {what}")


@app.command("list")
def list_searches(
    mine: Annotated[bool, typer.Option("--mine", help="Only your searches.")] = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
) -> None:
    """List the searches of a runs folder or a service."""
    table = Table("search", "owner", "state", "trials", "best", "metric", "note", box=None)
    for each in open_searches(runs, service).list(mine):
        numbers = each.summary
        trials = f"{numbers.get('ended') or 0}/{numbers.get('trials') or ''}"
        value = _best_so_far(numbers)
        metric = escape(str(numbers.get("metric") or ""))
        table.add_row(each.name, each.owner, each.state, trials, value, metric, each.note)
    console.print(table if table.row_count else "no searches", soft_wrap=True)


def _best_so_far(numbers: Mapping[str, Any]) -> str:
    """Return the best value of a list's search; before a trial has completed, that of the one that
    leads, with its epochs."""
    if (best := numbers.get("best_value")) is not None:
        return show(best)
    leads, epochs = numbers.get("leader_value"), numbers.get("leader_epochs")
    if leads is None or epochs is None:
        return ""
    return f"{show(leads)} after {show_count(epochs, 'epoch')}"


@app.command()
def status(name: NameArgument, runs: PlaceOption = None, service: ServiceOption = None) -> None:
    """Show a search's progress, and why trials failed."""
    console.print(open_searches(runs, service).status(name))


@app.command()
def logs(
    name: NameArgument,
    trial: Annotated[int | None, typer.Option(min=0, help="Number of a trial.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log to its end.")
    ] = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
) -> None:
    """Print the log of a submitted search, or of one of its trials."""
    for text in open_searches(runs, service).logs(name, trial, follow):
        print(text, end="", flush=True)


@app.command()
def report(name: NameArgument, runs: PlaceOption = None, service: ServiceOption = None) -> None:
    """Regenerate and print a search's report."""
    from rich.markdown import Markdown

    text, where = open_searches(runs, service).report(name)
    console.print(Markdown(text) if console.is_terminal else text, soft_wrap=True)
    console.print(where, soft_wrap=True)


@app.command()
def best(
    name: NameArgument,
    runs: PlaceOption = None,
    service: ServiceOption = None,
    output: Annotated[Output, typer.Option(help="A spec that can be run, or JSON.")] = Output.SPEC,
) -> None:
    """Print the best configuration of a search."""
    found = open_searches(runs, service).best(name)
    spec = found.pop("spec")
    if output is Output.SPEC:
        print(spec, end="")
        return
    print(json.dumps(found, indent=2))


@app.command()
def download(
    name: NameArgument,
    to: Annotated[Path, typer.Option(help="Target folder.")] = Path(),
    runs: PlaceOption = None,
    service: ServiceOption = None,
) -> None:
    """Copy the best trial's checkpoint into a folder: for a training function, what it saved."""
    path = open_searches(runs, service).download(name, to)
    if path.suffix == ".pt":
        from hpsearch.training.user_code.saved import unpack

        unpack(path)
    console.print(str(path), soft_wrap=True)


@app.command()
def components(
    family: Annotated[
        str | None, typer.Argument(help="A family, such as model or optimizer.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print all as Markdown.")] = False,
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
    for each in [family] if family else families:
        console.print(_component_table(each))


@app.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    from hpsearch.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


def _component_table(family: str) -> Table:
    from hpsearch import catalogue

    title = f"{family}: {catalogue.place_of(family)}".replace("`", "")
    columns = ("name", "description", "keyword", "default", "auto")
    table = Table(*columns, title=title, title_justify="left", box=None)
    for component, keywords in catalogue.components(family):
        first = (component.name, component.summary)
        for keyword in keywords or [catalogue.Keyword("", "", "")]:
            row = (keyword.name, keyword.default, keyword.recommended)
            table.add_row(*first, *row)
            first = ("", "")
    if everywhere := catalogue.shared(family):
        table.caption = f"shared keywords: {', '.join(map(str, everywhere))}"
    return table


def _describe(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return " | ".join(str(choice) for choice in distribution.choices)
    notes = ["log"] if distribution.log else []
    if distribution.step not in (None, 1):
        notes.append(f"step {distribution.step:g}")
    kind = "integer" if type(distribution).__name__ == "IntDistribution" else "real"
    return ", ".join([f"{kind} {distribution.low:g} to {distribution.high:g}", *notes])

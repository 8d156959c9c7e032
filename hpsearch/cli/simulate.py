"""The command that simulates searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hpsearch.cli.common import RUNS, JsonOption, RunsOption, app, console, open_search, say
from hpsearch.cli.page_files import check_page, write_page
from hpsearch.cli.plain import print_json
from hpsearch.errors import Problem, SpecError
from hpsearch.formatting import show_count
from hpsearch.text_table import text_table

if TYPE_CHECKING:
    from hpsearch.record import Record
    from hpsearch.simulation import RecordedCurves, Replay, Simulated
    from hpsearch.spec import SearchSpec

#: columns of a table that isn't wrapped, at most
MAX_WIDTH = 400


@app.command()
def simulate(
    source: Annotated[
        str, typer.Option("--from", metavar="SEARCH", help="Search whose curves are replayed.")
    ],
    spec: Annotated[
        Path | None,
        typer.Argument(metavar="[SPEC]", help="YAML file of a search; default: that of --from."),
    ] = None,
    workers: Annotated[
        str, typer.Option(metavar="N,…", help="Numbers of concurrent trials to compare.")
    ] = "1,8,64",
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="PATH=VALUE,…", help="Values of the spec to compare, or to replace."
        ),
    ] = [],  # noqa: B006
    qualities: Annotated[
        list[float],
        typer.Option("--quality", help="Objective to reach; default: three of the record."),
    ] = [],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=1, help="Simulations of each; medians count.")] = 3,
    html: Annotated[
        Path | None, typer.Option(help="File of a page to write, with figures.")
    ] = None,
    runs: RunsOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Simulate searches on the curves of one that ran: time and epochs to each quality."""
    from hpsearch.simulation import RecordedCurves, compare, quality_levels, replay, variants

    check_page(html)
    _, record = open_search(source, runs)
    numbers = [_workers(text) for text in split_values(workers)]
    found = variants(_settings(overrides), numbers, partial(_spec, spec, record))
    curves = RecordedCurves(record, found[0].spec)
    levels = qualities or quality_levels(curves.finals, record.spec.objective.direction)
    replayed = replay(record)
    if not as_json:
        _say_source(record, curves, replayed)
    results = list(compare(found, partial(RecordedCurves, record), levels, seeds))
    if html is not None:
        _write(html, record, results, levels)
    if as_json:
        print_json(_plain(curves, replayed, results))
        return
    # A file or a pipe has no width: there the table isn't wrapped.
    target = console if console.is_terminal else Console(emoji=False, width=MAX_WIDTH)
    target.print(_table(record, results, levels))


def split_values(text: str) -> list[str]:
    """Split YAML values at the commas between them.

    >>> split_values("2,3,4"), split_values("{low: 1, high: 3},[1, 2]")
    (['2', '3', '4'], ['{low: 1, high: 3}', '[1, 2]'])
    """
    values, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            values.append("")
        else:
            values[-1] += character
    return values


def _settings(overrides: Sequence[str]) -> dict[str, list[str]]:
    settings = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            raise SpecError(
                [Problem("--set", "must be path=value, or path=value,value", override)]
            )
        settings[path] = split_values(text)
    return settings


def _workers(text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        rule = "must be numbers of concurrent trials, at least 1, with commas between them"
        raise SpecError([Problem("--workers", rule, text)])
    return int(text)


def _spec(path: Path | None, record: Record, overrides: Sequence[str]) -> SearchSpec:
    """Return the spec to simulate, checked as far as a simulation needs it: no code, no data."""
    from hpsearch.spec.reading import draft_of, read_draft
    from hpsearch.validation import filled_in

    if path is None:
        draft = draft_of(record.spec.to_dict(), record.spec.folder, overrides)
    else:
        draft = read_draft(path, overrides)
    if draft.spec is None:
        raise SpecError(draft.problems)
    if draft.spec.objective != record.spec.objective:
        metric = f"{record.spec.objective.direction} {record.spec.objective.metric}"
        rule = f"must be that of {record.name}, {metric}, whose curves are replayed"
        raise SpecError([Problem("objective", rule, draft.spec.objective.model_dump())])
    spec = filled_in(draft).spec
    assert spec is not None
    return spec


def _say_source(record: Record, curves: RecordedCurves, replayed: Replay) -> None:
    rule = record.spec.search.early_stopping.name
    decisions = show_count(replayed.num_decisions, "decision")
    agree = "all as in the record"
    if not replayed.is_identical:
        agree = f"{len(replayed.differing)} other than in the record"
    say(f"replayed {record.name}: {decisions} of {rule}, {agree}")
    correlation = curves.rank_correlation()
    known = "" if correlation is None else f"; rank correlation {correlation:.2f}, each left out"
    trials = show_count(curves.num_trials, "trial")
    say(f"other configurations: from their nearest of {trials}{known}")


def _plain(
    curves: RecordedCurves, replayed: Replay, results: Sequence[Simulated]
) -> dict[str, Any]:
    return {
        "from": curves.name,
        "trials": curves.num_trials,
        "rank_correlation": curves.rank_correlation(),
        "replay": asdict(replayed),
        "simulations": [asdict(each) for each in results],
    }


def _table(record: Record, results: Sequence[Simulated], levels: Sequence[float]) -> Table:
    from hpsearch.simulation.figures import results_table

    objective = record.spec.objective
    plain = results_table(results, levels, objective)
    return text_table(
        plain.header,
        plain.rows,
        title=f"{objective.metric}: medians, and time and epochs to each quality",
        title_justify="left",
    )


def _write(
    path: Path, record: Record, results: Sequence[Simulated], levels: Sequence[float]
) -> None:
    from hpsearch.simulation.figures import results_figures, results_sections

    objective = record.spec.objective
    told = "No trial was trained: curves are recorded ones."
    sections = results_sections(results, levels, objective)
    figures = results_figures(results, objective)
    write_page(path, f"Simulated from {record.name}", told, sections, figures)

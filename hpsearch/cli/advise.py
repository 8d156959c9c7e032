"""Commands that advise: what to search, before a search and after it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpsearch.cli.common import (
    RUNS,
    JsonOption,
    NameArgument,
    PlaceOption,
    RunsOption,
    ServiceOption,
    SetOption,
    SpecArgument,
    TargetOption,
    app,
    console,
    open_search,
)
from hpsearch.cli.page_files import check_page, write_page, write_text
from hpsearch.cli.plain import print_json
from hpsearch.errors import HpsearchError
from hpsearch.text_table import text_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpsearch.analysis.blocks import Section
    from hpsearch.record import LrRangeNote
    from hpsearch.spec import SearchSpec


@app.command("lr-range")
def lr_range(
    spec: SpecArgument,
    overrides: SetOption = [],  # noqa: B006  # typer's way
    to: Annotated[Path | None, typer.Option(help="Folder of the spec and the page.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the range of a spec's learning rates by range tests, and write a spec with it."""
    from hpsearch.analysis.lr_range_report import lr_range_section
    from hpsearch.lr_range import find_lr_ranges, with_lr_ranges
    from hpsearch.spec import read_draft
    from hpsearch.validation import check_draft
    from hpsearch.validation.lr_places import lr_places

    stem = (to or spec.parent) / f"{spec.stem}-lr-range"
    check_page(None if as_json else stem)
    checked, data = check_draft(read_draft(spec, overrides), is_new=False)
    places = lr_places(checked)
    if data is None or not places:
        own = "no dataset" if data is None else "no optimizer with a learning rate"
        raise HpsearchError(f"{spec}: lr-range needs model, dataset and optimizer; it has {own}")
    notes = find_lr_ranges(_here(checked), data, places)
    found = with_lr_ranges(checked, notes).without_lr_test()
    if as_json:
        print_json(_plain(notes, found))
        return
    print_sections(lr_range_section(notes))
    for path in _written(stem, notes, found):
        console.print(f"written to {path}", soft_wrap=True, highlight=False, markup=False)
    if not any(note.is_found for note in notes):
        raise typer.Exit(1)


@app.command("next")
def next_search(
    name: NameArgument,
    new_name: Annotated[
        str, typer.Option("--name", help="Name of the next search; default: NAME-next.")
    ] = "",
    as_json: JsonOption = False,
    runs: PlaceOption = None,
    service: ServiceOption = None,
) -> None:
    """Print the spec of the next search: ranges and choices as the best trials suggest."""
    from hpsearch.cli.open import open_searches

    found = open_searches(runs, service).next_spec(name, new_name)
    if as_json:
        print_json(found)
        return
    from hpsearch.next_spec import next_text

    print(next_text(found), end="")


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of searches.")],
    against: Annotated[
        list[str],
        typer.Option("--with", help="Search paired with a NAME, once for each, in their order."),
    ] = [],  # noqa: B006  # typer's way
    targets: TargetOption = [],  # noqa: B006  # typer's way
    html: Annotated[Path | None, typer.Option(help="File of a page to write.")] = None,
    as_json: JsonOption = False,
    runs: RunsOption = RUNS,
) -> None:
    """Compare searches, and say whether they differ by more than chance."""
    from hpsearch.analysis import comparison
    from hpsearch.analysis.speed import plain_reached

    records = [open_search(name, runs)[1] for name in names]
    others = [open_search(name, runs)[1] for name in against]
    if len(records) + len(others) < 2 or (others and len(others) != len(records)):
        rule = "compare needs two searches or more; with --with, one for each"
        raise HpsearchError(f"{rule}, but got {len(records)} and {len(others)}")
    if others:
        found = [comparison.paired(records, others)]
    else:
        comparison.check_comparable(records)
        found = comparison.differences(records)
    every = [*records, *others]
    wanted = targets or comparison.shared_targets(every)
    sections = comparison.comparison_sections(every, found, wanted)
    if as_json:
        reached = {record.name: plain_reached(record, wanted) for record in every}
        print_json({"differences": [asdict(each) for each in found], "targets": reached})
    else:
        print_sections(sections)
    if html is not None:
        figures = {comparison.FIGURE: comparison.best_by_epochs(every)}
        write_page(html, "Comparison of searches", "", sections, figures)


def _here(spec: SearchSpec) -> SearchSpec:
    """Return a spec that trains on this machine, which may have no GPU."""
    import torch

    if torch.cuda.is_available() or spec.resources.gpu == 0:
        return spec
    return spec.model_copy(update={"resources": spec.resources.model_copy(update={"gpu": 0.0})})


def print_sections(sections: Sequence[Section]) -> None:
    """Print the texts and the tables of sections."""
    from hpsearch.analysis import blocks

    for section in sections:
        for block in section.blocks:
            if isinstance(block, blocks.Table):
                header, *rows = (
                    [cell.replace("`", "") for cell in row] for row in (block.header, *block.rows)
                )
                console.print(text_table(header, rows), highlight=False)
            elif isinstance(block, str):
                text = block.replace("`", "")
                console.print(text, soft_wrap=True, highlight=False, markup=False)


def _plain(notes: Sequence[LrRangeNote], spec: SearchSpec) -> dict[str, Any]:
    from hpsearch.analysis.lr_range import read_lr_range

    plain = []
    for note in notes:
        curves = []
        for curve in note.curves:
            verdict = read_lr_range(curve.rates, curve.losses)
            curves.append({**asdict(curve), "verdict": verdict and asdict(verdict)})
        plain.append({**asdict(note), "curves": curves})
    return {"ranges": plain, "spec": spec.to_dict()}


def _written(stem: Path, notes: Sequence[LrRangeNote], spec: SearchSpec) -> list[Path]:
    """Write the spec with its ranges, and the page with the curves; returns their paths."""
    from hpsearch.analysis.lr_range_report import lr_range_figures, lr_range_section

    paths = [stem.with_name(f"{stem.name}.yaml"), stem.with_name(f"{stem.name}.html")]
    write_text(paths[0], spec.to_yaml())
    told = "Each curve is a short training whose learning rate grows at every step."
    title = f"{spec.name}: learning rates"
    write_page(paths[1], title, told, lr_range_section(notes), lr_range_figures(notes))
    return paths

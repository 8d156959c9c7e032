"""`hpsearch learning-curve`: what more training rows would bring."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hpsearch.cli.advise import print_sections
from hpsearch.cli.common import RUNS, JsonOption, NameArgument, RunsOption, app, open_search
from hpsearch.cli.page_files import check_page, write_page
from hpsearch.cli.plain import print_json
from hpsearch.errors import HpsearchError


@app.command("learning-curve")
def learning_curve(
    name: NameArgument,
    seeds: Annotated[int, typer.Option(min=2, help="Trainings on each number of rows.")] = 3,
    html: Annotated[Path | None, typer.Option(help="File of a page to write.")] = None,
    as_json: JsonOption = False,
    runs: RunsOption = RUNS,
) -> None:
    """Train the best configuration on parts of the rows, and say what more rows would bring."""
    from hpsearch.analysis import learning_curve as analysis
    from hpsearch.binding import bind_code
    from hpsearch.importing import working_directory
    from hpsearch.learning_curve import check_parts, learning_points
    from hpsearch.training.threads import num_threads
    from hpsearch.validation import check_spec

    check_page(html)
    _, record = open_search(name, runs)
    best = record.best
    if best is None or record.spec.dataset is None:
        why = "no completed trial" if best is None else "no dataset"
        rule = "learning-curve needs dataset, model and optimizer, and a completed trial"
        raise HpsearchError(f"{name}: {rule}; it has {why}")
    bound = bind_code(record)
    spec = bound.spec.with_values(best.values)
    checked, data = check_spec(spec, is_new=False, code=bound.snapshot)
    assert data is not None
    objective, config = checked.objective, record.config(best)
    check_parts(config, data)
    for value in best.metric(objective.metric).values():
        analysis.check_objective(objective.metric, objective.direction, value)
    with (
        bound.snapshot.imported(),
        working_directory(Path(checked.folder)),
        num_threads(checked.resources.cpu),
    ):
        points = list(learning_points(config, data, objective.direction, seeds=seeds))
    curve = analysis.fit_learning_curve(objective.metric, objective.direction, points)
    section = analysis.learning_curve_section(curve)
    if as_json:
        print_json({"name": name, "curve": asdict(curve)})
    else:
        print_sections([section])
    if html is not None:
        figures = {analysis.FIGURE: analysis.learning_curve_figure(curve)}
        write_page(html, f"{name}: learning curve", "", [section], figures)

"""The command that runs a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpsearch.cli.common import RUNS, AddressOption, JsonOption, RunsOption, app, say
from hpsearch.cli.plain import print_json


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A study, or a YAML file of one.")],
    runs: RunsOption = RUNS,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the searches of a study and say which variant does better."""
    from hpsearch.cli.advise import print_sections
    from hpsearch.studies import Cell, answer_sections, load_study, plain_study, run_study

    def told(cell: Cell, number: int, planned: int) -> None:
        if not as_json:
            say(f"{number} of {planned}: {cell.spec.name}")

    asked = load_study(name)
    try:
        found = run_study(asked, Path(runs), address=address, on_search=told, progress=False)
    except KeyboardInterrupt as stopped:
        say(str(stopped))
        raise typer.Exit(130) from stopped
    if as_json:
        print_json(plain_study(asked, found))
    else:
        say(asked.question)
        print_sections(answer_sections(asked, found))

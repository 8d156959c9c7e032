"""Scripts on the command line: `hpsearch init -- python train.py`, and `run --space`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hpsearch.cli.common import JsonOption, app, say
from hpsearch.cli.plain import print_json
from hpsearch.errors import Problem, SpecError

#: keys that tell a spec from a bare space
_OF_SPECS = {"name", "space", "objective", "search", "resources", "command", "metrics"}
CommandArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND]", help="A script: python train.py --epochs 10"),
]


@app.command()
def init(
    command: CommandArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where to write the spec; the script runs in its folder."
        ),
    ] = Path("search.yaml"),
    as_json: JsonOption = False,
) -> None:
    """Write a first spec for a script, with ranges for the hyperparameters that it has."""
    from hpsearch.first_spec import first_spec, to_yaml
    from hpsearch.script_options import TIMEOUT_S

    words = command or []
    if not words:
        raise SpecError([Problem("init", "must be given a command: init -- python train.py")])
    if output.exists():
        rule = "must not exist: choose another with --output"
        raise SpecError([Problem("--output", rule, str(output))])
    if not as_json:
        say(f"running {' '.join(words)} --help, for at most {TIMEOUT_S:g} s, to read its options")
    spec = first_spec(words, output.parent)
    output.write_text(to_yaml(spec, name_of(words)))
    if as_json:
        required = [option.word for option in spec.required]
        print_json({"spec": output, "hyperparameters": spec.searched, "required": required})
        return
    say(f"{output}: {', '.join(spec.searched) or 'no known hyperparameter'}")
    if spec.required:
        missing = ", ".join(option.word for option in spec.required)
        say(f"warning: the script requires {missing}: add it to the command in {output}")
    say(f"review it, then: hpsearch validate {output}; hpsearch run {output}")


def spec_of_command(
    words: Sequence[str],
    document: Mapping[str, Any],
    metric: str | None,
    direction: str | None,
) -> dict[str, Any]:
    """Return a raw spec of a command and a YAML document: a space, or a spec without a command.

    The metric is that which the script reports, unless it is given.
    """
    if not words:
        raise SpecError([Problem("--space", "must come with a command: --space FILE -- COMMAND")])
    spec = dict(document) if document.keys() & _OF_SPECS else {"space": dict(document)}
    given = {"metric": metric, "direction": direction}
    objective = {**spec.get("objective", {}), **{k: v for k, v in given.items() if v}}
    if metric is not None or "metric" not in objective:
        objective = {**_likely_objective(metric, words), **objective}
    command = spec.get("command", {})
    settings = dict(command) if isinstance(command, Mapping) else {}
    return {
        "name": name_of(words),
        **spec,
        "command": {**settings, "run": list(words)},
        "objective": objective,
    }


def _likely_objective(metric: str | None, words: Sequence[str]) -> dict[str, str]:
    """Return the objective for a metric, by default that which a script's own file reports."""
    from hpsearch.first_spec import reported_metric
    from hpsearch.spec import likely_direction

    metric = metric or reported_metric(words, Path())
    if metric is None:
        raise SpecError([Problem("--metric", "must name the metric that the script reports")])
    return {"metric": metric, "direction": likely_direction(metric)}


def name_of(words: Sequence[str]) -> str:
    """Return a search's name for a command: that of its script.

    >>> name_of(["python", "src/train.py", "--lr", "1"])
    'train'
    """
    import re

    from hpsearch.user_code import scripts

    script = next(iter(scripts(words)), words[0])
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", Path(script).name.removesuffix(".py")).lstrip("-._")
    return name[:100] or "search"

"""The section `command` of a spec: a script of the user's, run once for each trial."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from hpsearch.spec.trees import Frozen, named
from hpsearch.spec.units import Duration

#: how hyperparameters that the command doesn't name reach it
Arguments = Literal["argparse", "hydra", "json", "yaml", "environment", "none"]
WorkingDir = Literal["spec", "trial"]


def _as_words(value: object) -> object:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"must be a command line ({error})") from error
    if not isinstance(value, list | tuple) or not value or not all(map(_is_word, value)):
        raise ValueError("must be a command line: a text, or a list of words")
    return tuple(map(str, value))


def _is_word(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _as_mapping(value: object) -> object:
    return {"run": value} if isinstance(value, str | list | tuple) else value


class Command(Frozen):
    """A command line, how it gets the hyperparameters, and how it is stopped."""

    run: Annotated[tuple[str, ...], BeforeValidator(_as_words)] = Field(
        description="the command, a list or a text; `{lr}` stands for a hyperparameter"
    )
    arguments: Arguments | None = Field(
        None,
        description="how hyperparameters reach a command without placeholders: `argparse` "
        "(--name value, the default), `hydra` (name=value), `json` or `yaml` (the path of a "
        "file, also where `{config}` stands), `environment` (variables), `none`",
    )
    steps_per_epoch: int | None = Field(
        None, ge=1, description="steps that are an epoch of the budget, where steps are reported"
    )
    stop_grace: Duration = Field(
        10.0, description="seconds from SIGTERM to SIGKILL where a trial is stopped"
    )
    working_dir: WorkingDir = Field(
        "spec",
        description="where the command runs: in the spec's folder, or in a folder of each "
        "trial's own with links to all that lies in the spec's",
    )
    environment: dict[str, str] = Field(default_factory=dict, description="variables to set")


CommandSetting = Annotated[Command, BeforeValidator(_as_mapping)]


def with_source_names(value: Any) -> Any:
    """Write out a source of metrics: `from` is its name here, and a name alone is short for it."""
    value = named(value)
    if isinstance(value, dict) and "from" in value and "name" not in value:
        return {"name" if key == "from" else key: child for key, child in value.items()}
    return value

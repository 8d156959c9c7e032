"""Whether the spec of a command can work."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from hpsearch.errors import ComponentError, Problem, nearest_names
from hpsearch.spec import Choices, Command, Draft, Tree, join
from hpsearch.training.command.arguments import FILLED, placeholders, style_of, variable
from hpsearch.training.command.environment import command_path
from hpsearch.training.command.sources import FAMILY
from hpsearch.user_code import scripts
from hpsearch.validation.options import option_problems
from hpsearch.validation.outcomes import parted
from hpsearch.validation.own_code import beside_problems, process_problems, space_problems
from hpsearch.validation.required_arguments import required_problems
from hpsearch.validation.signatures import check_component

#: words that mean something to a shell only
_OF_SHELLS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1", "&>"}
_VARIABLE = re.compile(r"[A-Za-z_]\w*=")


def command_problems(draft: Draft) -> Iterator[Problem]:
    """Yield what is wrong with `command`, `metrics` and `space`, and what stands beside them."""
    yield from beside_problems(draft, "command")
    yield from space_problems(draft)
    yield from process_problems(draft)
    command = draft.spec.command if draft.spec is not None else None
    if command is None:  # its shape is wrong
        return
    yield from _program_problems(command, draft.folder)
    yield from _nesting_problems(command, draft)
    yield from _placeholder_problems(command, draft)
    yield from _variable_problems(command, draft)
    space = _values(draft.sections.get("space") or {})
    yield from required_problems(command, set(space), draft.folder)
    yield from option_problems(command, space, draft.folder)
    yield from _metrics_problems(command, draft)


def _program_problems(command: Command, folder: Path) -> Iterator[Problem]:
    program = command.run[0]
    is_path = os.sep in program
    where = str(folder / program) if is_path else program
    if not placeholders([program]) and shutil.which(where, path=command_path()) is None:
        rule = "must be an executable file" if is_path else "must be a command on the PATH"
        hint = "command.environment sets variables" if _VARIABLE.match(program) else ""
        yield Problem("command.run", rule, program, hint=hint)
    if of_shell := [word for word in command.run if word in _OF_SHELLS]:
        hint = "[bash, -c, 'python train.py --lr {lr} | tee log.txt'] runs one"
        yield Problem("command.run", "must not need a shell", of_shell[0], hint=hint)
    for script in scripts(command.run):
        if script.endswith(".py") and not (folder / script).is_file():
            near = nearest_names(script, (path.name for path in folder.glob("*.py")))
            yield Problem("command.run", f"must name a file below {folder}", script, near)


def _nesting_problems(command: Command, draft: Draft) -> Iterator[Problem]:
    """Yield where two launchers would start processes of each other's."""
    launcher = draft.spec.resources.launcher if draft.spec is not None else None
    program = Path(command.run[0]).name
    if launcher is not None and program in ("torchrun", "accelerate"):
        rule = f"must not be given with a command that starts processes itself ({program})"
        yield Problem("resources.launcher", rule, launcher)


def _placeholder_problems(command: Command, draft: Draft) -> Iterator[Problem]:
    searched = _names(draft.sections.get("space") or {})
    used = set(placeholders(command.run))
    for name in sorted(used - searched - set(FILLED)):
        known = [*searched, *FILLED]
        rule = "must be a hyperparameter of `space`, or one of " + ", ".join(FILLED)
        hint = "a brace that stands for itself is written twice"
        yield Problem("command.run", rule, f"{{{name}}}", nearest_names(name, known), hint)
    if "max_steps" in used and command.steps_per_epoch is None:
        rule = "must be set where {max_steps} is used"
        yield Problem("command.steps_per_epoch", rule)
    for name in sorted(searched & set(FILLED)):
        yield Problem(join("space", name), "must be renamed: hpsearch fills it in", name)
    unused = sorted(searched - used)
    if style_of(command) == "none" and unused and command.arguments is None:
        rule = "must have a placeholder for every hyperparameter, and has none for"
        hint = "or set command.arguments"
        yield Problem("command.run", f"{rule} {', '.join(unused)}", hint=hint)


def _variable_problems(command: Command, draft: Draft) -> Iterator[Problem]:
    if style_of(command) != "environment":
        return
    for name in sorted(_names(draft.sections.get("space") or {})):
        if variable(name) in os.environ:
            rule = "must be renamed: this machine has the variable"
            yield Problem(join("space", name), rule, variable(name))


def _metrics_problems(command: Command, draft: Draft) -> Iterator[Problem]:
    metrics = draft.spec.metrics if draft.spec is not None else None
    if metrics is None:
        return
    found, problems = parted(check_component(FAMILY, metrics, "metrics", draft.folder))
    yield from problems
    for alternative in found:
        try:
            alternative.component.build(
                dict(alternative.keywords), working_dir=draft.folder, files=draft.folder
            )
        except ComponentError as error:
            yield error.problem.below("metrics")
    if found and metrics["name"] == "stdout":
        yield from _group_problems(metrics["pattern"], draft)
    path = metrics.get("path")
    if isinstance(path, str):
        yield from _path_problems(command, draft, path)


def _group_problems(pattern: str | list[str], draft: Draft) -> Iterator[Problem]:
    """Yield where no group of the patterns is the objective."""
    patterns = [pattern] if isinstance(pattern, str) else pattern
    with suppress(re.error):  # reported where the source is made
        groups = [name for each in patterns for name in re.compile(each).groupindex]
        objective = draft.spec.objective.metric if draft.spec is not None else None
        if objective is None or objective in groups:
            return
        if not objective.isidentifier():
            rule = "must be the name of a group of metrics.pattern: letters, digits and _"
            yield Problem("objective.metric", rule, objective, nearest_names(objective, groups))
        else:
            rule = f"must have a group named as the objective, (?P<{objective}>...)"
            yield Problem("metrics.pattern", rule, pattern, nearest_names(objective, groups))


def _path_problems(command: Command, draft: Draft, path: str) -> Iterator[Problem]:
    """Yield where several trials would write to the same files."""
    names = placeholders([path])
    known = [*_names(draft.sections.get("space") or {}), *FILLED]
    for name in names:
        if name not in known:
            rule = "must be a hyperparameter of `space`, or one of " + ", ".join(FILLED)
            yield Problem("metrics.path", rule, f"{{{name}}}", nearest_names(name, known))
    is_shared = not set(names) & {"trial", "checkpoint_dir", "output_dir"}
    if is_shared and command.working_dir == "spec":
        rule = "must be another for each trial"
        hint = "put {output_dir} or {trial} in it, or set command.working_dir: trial"
        yield Problem("metrics.path", rule, path, hint=hint)


def _names(space: Tree) -> set[str]:
    return set(_values(space))


def _values(space: Tree) -> dict[str, list[Tree]]:
    """Return the constants and ranges that each hyperparameter may be, by its dotted name.

    Those that only some configurations have are among them.
    """
    found: dict[str, list[Tree]] = {}
    if isinstance(space, Mapping):  # its shape is wrong otherwise
        for name, value in _leaves(space, ""):
            found.setdefault(name, []).append(value)
    return found


def _leaves(tree: Mapping[str, Tree], prefix: str) -> Iterator[tuple[str, Tree]]:
    for key, child in tree.items():
        for alternative in _alternatives(child):
            name = f"{prefix}{key}"
            if not isinstance(alternative, Mapping):
                yield name, alternative
                continue
            names = list(_alternatives(alternative.get("name")))
            is_named = any(isinstance(each, str) for each in names)
            yield from ((name, each) for each in names if is_named)
            rest = {
                key: alternative[key] for key in alternative if not (is_named and key == "name")
            }
            yield from _leaves(rest, f"{name}.")


def _alternatives(tree: Tree) -> Iterator[Tree]:
    if isinstance(tree, Choices):
        for choice in tree.choices:
            yield from _alternatives(choice)
    else:
        yield tree

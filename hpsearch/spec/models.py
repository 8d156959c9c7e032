"""A spec as a frozen model: its fields, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import model_validator

from hpsearch.errors import Problem, SpecError
from hpsearch.registry import AUTO, ComponentOf
from hpsearch.spec.documents import dump_yaml
from hpsearch.spec.fields import (
    COMPONENT_SECTIONS,
    KERAS_SECTIONS,
    MODEL_SECTIONS,
    SECTIONS,
    SECTIONS_BESIDE_OWN_CODE,
    SpecFields,
)
from hpsearch.spec.objectives import MEASURED, with_first_objective
from hpsearch.spec.recipe import DISCIPLINED
from hpsearch.spec.settings import BUDGETS, Final, Objective, limit_problems
from hpsearch.spec.stopping import EarlyStopping
from hpsearch.spec.trees import Tree, to_plain


class SearchSpec(SpecFields):
    """A search, as its user wrote it, with every default filled in."""

    @model_validator(mode="before")
    @classmethod
    def _name_components(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        return with_named_components(with_first_objective(raw))

    @property
    def all_objectives(self) -> tuple[Objective, ...]:
        """The metrics to optimise, one or several."""
        return self.objectives or (self.objective,)

    @property
    def is_plain(self) -> bool:
        """Whether there is one objective and no constraint: trials are compared by a number."""
        return not self.objectives and not self.constraints

    @property
    def other_metrics(self) -> tuple[str, ...]:
        """The metrics of further objectives and of constraints."""
        named = [each.metric for each in self.objectives]
        named += [each.metric for each in self.constraints]
        return tuple(name for name in dict.fromkeys(named) if name != self.objective.metric)

    @property
    def measured(self) -> tuple[str, ...]:
        """What is measured of built-in trials, as an objective or a constraint asks."""
        return tuple(
            name for name in MEASURED if name in (self.objective.metric, *self.other_metrics)
        )

    @property
    def max_epochs(self) -> int:
        """Epochs of a trial that trains its full budget."""
        return self.search.early_stopping.max_epochs

    @property
    def is_own_code(self) -> bool:
        """Whether trials are a training function or a script of the user's (see `space`)."""
        return self.trainable is not None or self.command is not None

    @property
    def has_files(self) -> bool:
        """Whether the checkpoints are files that the processes of a trial write themselves."""
        return self.command is not None or self.resources.launcher is not None

    @property
    def plain_command(self) -> dict[str, Any] | None:
        """`command` as plain values, as a trial's configuration has it."""
        return None if self.command is None else self.command.model_dump(mode="json")

    @property
    def trial_sections(self) -> dict[str, Tree]:
        """What makes a trial: the sections of components, or the space of the user's own code."""
        if self.is_own_code:
            beside = {name: getattr(self, name) for name in SECTIONS_BESIDE_OWN_CODE}
            given = {name: tree for name, tree in beside.items() if tree is not None}
            return {"space": self.space or {}, **given}
        return {section: getattr(self, section) for section in SECTIONS}

    def with_values(self, values: Mapping[str, Any]) -> SearchSpec:
        """Return the spec of one trial: these values, its full budget, nothing to search."""
        once = {
            "trials": 1,
            "lr": None,
            "sampler": {"name": "random"},
            "early_stopping": EarlyStopping(name="none", max_epochs=self.max_epochs),
            "final": None,
            "ensemble": None,
        }
        search = self.search.model_copy(update=once)
        return self.model_copy(update={**values, "name": f"{self.name}-best", "search": search})

    def without_lr_test(self) -> SearchSpec:
        """Return the spec with its ranges of learning rates as they are."""
        return self.model_copy(update={"search": self.search.model_copy(update={"lr": None})})

    @property
    def budget(self) -> dict[str, float | None]:
        """What the search may use: `trials`, `epochs`, `time_limit`, `disk_quota`."""
        return {name: getattr(self.search, name) for name in BUDGETS}

    def with_budget(self, budget: Mapping[str, float | None]) -> SearchSpec:
        """Return the spec with these budgets; raises SpecError for what is none or too large."""
        unknown = [name for name in budget if name not in BUDGETS]
        if unknown:
            raise SpecError([Problem("budget", f"must be of {', '.join(BUDGETS)}", unknown)])
        search = self.search.model_copy(update=dict(budget))
        if problems := limit_problems(search):
            raise SpecError(problems)
        return self.model_copy(update={"search": search})

    @property
    def num_repeats(self) -> int:
        """With how many new seeds the best configuration alone is trained again; 0 for none."""
        final = self.search.final
        return final.seeds if final is not None and final.top == 1 else 0

    def with_repeats(self, seeds: int) -> SearchSpec:
        """Return the spec whose best configuration is trained again with so many new seeds."""
        final = Final(top=1, seeds=seeds)
        return self.model_copy(update={"search": self.search.model_copy(update={"final": final})})

    def extended(
        self, trials: int = 0, epochs: int = 0, seconds: float = 0.0, num_bytes: int = 0
    ) -> SearchSpec:
        """Return the spec with a larger budget; SpecError where it has no such budget, and for a
        population, which trains once."""
        more: dict[str, float] = {
            "trials": trials,
            "epochs": epochs,
            "time_limit": seconds,
            "disk_quota": num_bytes,
        }
        update: dict[str, Any] = {}
        problems = []
        if self.search.is_population and (trials or epochs or seconds):
            rule = "must be a sampler of independent trials: members of a population end together"
            problems.append(Problem("search.sampler", rule, self.search.sampler["name"]))
        if self.search.sampler["name"] == DISCIPLINED and trials:
            rule = "must stay as it is: the disciplined plan has no trials but those of its phases"
            problems.append(Problem("search.trials", rule, self.search.trials))
            more["trials"] = 0
        for name, amount in more.items():
            budget = getattr(self.search, name)
            if amount and budget is None:
                rule = "must be a budget of the search to be extended, but it has none"
                problems.append(Problem(f"search.{name}", rule))
            elif amount:
                update[name] = budget + amount
        if problems:
            raise SpecError(problems)
        return self.with_budget(update)

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved spec as plain values: what `load_spec` reads back unchanged."""
        unused = {"objective"} if self.objectives else {"objectives"}
        unused |= set() if self.constraints else {"constraints"}
        plain = self.model_dump(exclude={"folder", *unused}, mode="json", exclude_none=True)
        for section in (*SECTIONS, "space"):
            if section in plain:
                plain[section] = to_plain(getattr(self, section))
        if self.is_own_code:  # the defaults of built-in trials say nothing of it
            plain = {key: value for key, value in plain.items() if key not in MODEL_SECTIONS}
        return plain

    def to_yaml(self) -> str:
        """Return the resolved spec as YAML."""
        return dump_yaml(self.to_dict())


def with_keras_sections(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a raw spec with the sections that Keras has other defaults for, if it asks for them.

    Those of keywords are filled in when the spec is checked, which knows the components.
    """
    asks = raw.get("defaults") == "keras" and raw.get("model") is not None
    return {**KERAS_SECTIONS, **raw} if asks else raw


def with_named_components(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Write each component in full: `relu` is short for `{name: relu}`, in choices as well.

    Numbers that are short for a component stay: they are hyperparameters by the section's name.
    """
    full = dict(raw)
    for section, of in COMPONENT_SECTIONS.items():
        if section in full:
            full[section] = _with_names(full[section], of)
    return full


def _with_names(value: Any, of: ComponentOf) -> Any:
    if isinstance(value, Mapping) and isinstance(value.get("choices"), list | tuple):
        return {**value, "choices": [_with_names(choice, of) for choice in value["choices"]]}
    if of.many and isinstance(value, list | tuple):
        return [_with_names(item, replace(of, many=False)) for item in value]
    is_unnamed = bool(of.default) and not of.short and isinstance(value, Mapping)
    is_name = isinstance(value, str) and value != AUTO
    return of.written_out(value) if is_name or is_unnamed else value

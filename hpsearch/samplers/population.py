"""What population-based training decides: who copies whom, and which hyperparameters may change.

All of it is a pure function of the seed and of what members have reached, so that it can be made
again from a record (`hpsearch.tuning.population`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpsearch.errors import ComponentError, nearest_names
from hpsearch.samplers.base import Observation
from hpsearch.space import Parameter, SearchSpace
from hpsearch.spec import Scalar

#: sections whose hyperparameters shape a net or its data, or act before its first step only
DRAWN_ONCE = frozenset(
    (
        *("dataset", "environment", "initializer", "finetune", "accumulate", "last_batch"),
        *("calibration", "checks", "launcher"),
    )
)
#: sections whose whole numbers may change too; elsewhere they may be widths or counts of layers
OF_EACH_STEP = frozenset(
    (
        *("batch_size", "augmentations", "gradient_clip", "gradient_noise"),
        *("lr_schedule", "momentum_schedule", "batch_schedule", "lr_scaling"),
    )
)
#: keeps the draws of who copies whom apart from those of samplers
_SELECTION = 2


@dataclass(frozen=True)
class Member:
    """A member of a population after an interval.

    `score` is its objective then, more is better; None: it ended before, such as by divergence.
    """

    number: int
    params: Mapping[str, Scalar]
    score: float | None
    may_be_copied: bool = True


@dataclass(frozen=True)
class Exploit:
    """A member that gives way, and the one whose weights and hyperparameters take its place."""

    loser: Member
    source: Member


@dataclass(frozen=True)
class Interval:
    """What a member gained while it trained from one comparison to the next; `end` is an epoch."""

    params: Mapping[str, Scalar]
    end: int
    gain: float


@runtime_checkable
class PopulationSampler(Protocol):
    """A sampler whose trials are a population: `suggest` draws its first members."""

    population: int
    perturbation_interval: int
    quantile_fraction: float

    @property
    def num_copied(self) -> int:
        """Members that copy others after an interval, unless more have ended."""
        return quantile_size(self.population, self.quantile_fraction)

    def suggest(
        self, number: int, observations: Sequence[Observation]
    ) -> dict[str, Scalar] | None:
        """See Sampler."""
        ...

    def explore(
        self,
        number: int,
        exploit: Exploit,
        epoch: int,
        intervals: Sequence[Interval],
        pending: Sequence[Mapping[str, Scalar]],
    ) -> dict[str, Scalar]:
        """Return the hyperparameters of trial `number`, which begins by an exploit after `epoch`.

        `intervals` are those of all members so far; `pending` the hyperparameters that others of
        the population go on with.
        """
        ...


def truncation_selection(
    members: Sequence[Member], quantile_fraction: float, seed: int, epoch: int
) -> list[Exploit]:
    """Return who copies whom after an epoch, the worst first.

    Truncation selection (Jaderberg et al., 2017): a member of the lowest quantile copies
    one of the highest, drawn at random. As in Ray Tune a quantile holds ⌈n · fraction⌉ of the n
    members, at most half of them. Those that ended before are the lowest, all of them copy, and
    nobody copies what is no better than itself.
    """
    alive = [each for each in members if each.score is not None]
    ordered = [each for each in members if each.score is None]
    ordered += sorted(alive, key=lambda each: (each.score, -each.number))
    size = quantile_size(len(members), quantile_fraction)
    num_losers = max(size, len(members) - len(alive))
    sources = [each for each in ordered[num_losers:][-max(size, 1) :] if each.may_be_copied]
    found = []
    for loser in ordered[:num_losers]:
        better = [each for each in sources if _is_better(each, loser)]
        if better:
            rng = np.random.default_rng((seed, epoch, loser.number, _SELECTION))
            found.append(Exploit(loser, better[int(rng.integers(len(better)))]))
    return found


def quantile_size(num_members: int, quantile_fraction: float) -> int:
    """Return how many members a quantile holds.

    >>> quantile_size(8, 0.25), quantile_size(3, 0.5)
    (2, 1)
    """
    return min(math.ceil(num_members * quantile_fraction), num_members // 2)


def _is_better(one: Member, other: Member) -> bool:
    if one.score is None:
        return False
    return other.score is None or one.score > other.score


def may_change(parameter: Parameter, *, is_named: bool = False) -> bool:
    """Whether a hyperparameter can change in a net that trains, so that its weights still fit.

    Of the user's own code fractional numbers can, and whatever the user names.
    """
    section = parameter.name.partition(".")[0]
    if section in DRAWN_ONCE:
        return False
    return is_named or _is_number(parameter.distribution, section in OF_EACH_STEP)


def mutable_parameters(space: SearchSpace, named: Sequence[str] | None) -> list[Parameter]:
    """Return the hyperparameters that members change; all others are drawn once and inherited.

    Raises ComponentError for names that aren't among those that may change, and where there are
    none.
    """
    is_own_code = "space" in space.sections
    able = [each for each in space.parameters if may_change(each, is_named=is_own_code)]
    names = [each.name for each in able]
    for name in named or ():
        if name not in names:
            rule = f"must name hyperparameters that can change in a trained net ({_list(names)})"
            raise ComponentError(
                rule, name, keyword="hyperparam_mutations", nearest=nearest_names(name, names)
            )
    if named is not None:
        able = [each for each in able if each.name in named]
    elif is_own_code:
        able = [each for each in able if _is_number(each.distribution, False)]
    if not able:
        raise ComponentError(_nothing_to_change(space, names))
    return able


def _is_number(distribution: BaseDistribution, whole_too: bool) -> bool:
    if distribution.single():
        return False
    if isinstance(distribution, CategoricalDistribution):
        types = {type(choice) for choice in distribution.choices}
        return types <= {int, float} and (whole_too or float in types)
    return isinstance(distribution, FloatDistribution) or (
        whole_too and isinstance(distribution, IntDistribution)
    )


def _nothing_to_change(space: SearchSpace, able: Sequence[str]) -> str:
    drawn = _list([each.name for each in space.parameters])
    rule = "must have hyperparameters that can change in a trained net, such as "
    if "space" in space.sections:
        named = f"name those that your function can change in hyperparam_mutations ({_list(able)})"
        return f"{rule}a range of fractions; {named}"
    return f"{rule}a learning rate, a dropout rate or a batch size; drawn once are: {drawn}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"

"""The learning-rate range test of a spec: the range of each optimizer's rate, before a search.

The curve of a test is measured by `training.lr_sweep` and read by `analysis.lr_range`; here it is
said which tests a spec needs, and how its ranges follow from them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from hpsearch.analysis.lr_range import LrVerdict, read_lr_range
from hpsearch.components import Data
from hpsearch.formatting import show_error
from hpsearch.importing import working_directory
from hpsearch.record import LrCurve, LrRangeNote
from hpsearch.space import SearchSpace
from hpsearch.spec import Choices, Range, Scalar, SearchSpec, Tree, TrialConfig, join
from hpsearch.training import Trainer, make_trainer
from hpsearch.training.lanes.sweeping import sweep_together
from hpsearch.training.lr_sweep import LOWEST, STEPS
from hpsearch.training.threads import num_threads
from hpsearch.validation.defaults import default_configuration
from hpsearch.validation.lr_places import LR, LrPlace

BATCH_SIZE = "batch_size"
#: keywords of optimizers whose ends are tested where they are searched: a rate depends on them
VARIED = ("weight_decay", "momentum")
Settings: TypeAlias = dict[str, int | float | str]
#: sections that a test leaves out: they change the rate, or what follows an epoch
_LEFT_OUT = (
    "lr_schedule", "momentum_schedule", "batch_schedule", "callbacks", "calibration", "checks",
    "stages",
)  # fmt: skip
#: a test goes through the rows at most so many times, but takes at least so many steps
MAX_PASSES, MIN_STEPS = 20, 60
#: a narrower range than this factor isn't searched
LEAST_FACTOR = 2.0
NO_DESCENT = (
    "the loss falls at no rate: try another initializer, look at the data (hpsearch diagnose)"
)


def find_lr_ranges(spec: SearchSpec, data: Data, places: Sequence[LrPlace]) -> list[LrRangeNote]:
    """Test each optimizer, and return a range for each, within the spec's own.

    Tests are made with the ends and the middle of the batch sizes, and with the ends of weight
    decay and momentum, where these are searched; what else is searched has its default. Those
    that share a program are made at once, unless `fuse` is off. What fails leaves the spec's
    range.
    """
    with num_threads(spec.resources.cpu), working_directory(Path(spec.folder)):
        tests = [_Test(place, settings) for place in places for settings in _tests(spec, place)]
        failed = _made(spec, data, tests)
        failed |= _swept(spec, [test for test in tests if test.place.name not in failed])
    return [_note(place, tests, failed.get(place.name)) for place in places]


@dataclass
class _Test:
    """A range test: what is set for it, then its trainer, then its curve."""

    place: LrPlace
    settings: Settings
    trainer: Trainer | None = None
    num_steps: int = 0
    curve: LrCurve | None = None


def _made(spec: SearchSpec, data: Data, tests: Sequence[_Test]) -> dict[str, Exception]:
    """Build the trainers of tests; returns the errors of those that can't be, by the place."""
    failed: dict[str, Exception] = {}
    for test in tests:
        try:
            config = _config(spec, test)
            test.trainer = make_trainer(config, data, config.device).trainers[0]
            test.num_steps = _num_steps(test.settings[BATCH_SIZE], data.num_train_rows)
        except Exception as error:  # the trials tell more of it
            failed.setdefault(test.place.name, error)
    return failed


def _swept(spec: SearchSpec, tests: Sequence[_Test]) -> dict[str, Exception]:
    """Take the curves of tests: at once where they share a program, one by one if that fails."""
    if spec.fuse != "off":
        try:
            _sweep(tests)
            return {}
        except Exception as error:
            _log.info("range tests one by one: %s", show_error(error))
    failed: dict[str, Exception] = {}
    for test in tests:
        try:
            _sweep([test])
        except Exception as error:
            failed.setdefault(test.place.name, error)
    return failed


def _sweep(tests: Sequence[_Test]) -> None:
    trainers = [test.trainer for test in tests if test.trainer is not None]
    sweeps = sweep_together(trainers, [test.num_steps for test in tests])
    for test, found in zip(tests, sweeps, strict=True):
        rates, losses = (tuple(map(_rounded_value, each)) for each in (found.rates, found.losses))
        test.curve = LrCurve(test.settings, rates, losses)


def _note(place: LrPlace, tests: Sequence[_Test], error: Exception | None) -> LrRangeNote:
    own = [test for test in tests if test.place is place]
    for test in own:
        if test.trainer is not None:
            test.trainer.close()
    curves = [test.curve for test in own if test.curve is not None]
    if error is None:
        return conclude(place, curves)
    message = f"the range test failed: {show_error(error)}"
    return LrRangeNote(place.name, *_own_range(place), False, message, tuple(curves))


def _tests(spec: SearchSpec, place: LrPlace) -> Iterator[Settings]:
    """Yield what is set for each test: one thing at a time differs from the default."""
    sizes = _batch_sizes(spec.batch_size)
    for size in sizes:
        yield {BATCH_SIZE: size}
    for keyword in VARIED:
        for end in _ends(place.optimizer.get(keyword)):
            yield {BATCH_SIZE: sizes[len(sizes) // 2], keyword: end}


def conclude(place: LrPlace, curves: Sequence[LrCurve]) -> LrRangeNote:
    """Return the range that curves of an optimizer propose together, within the spec's own."""
    verdicts = [v for each in curves if (v := read_lr_range(each.rates, each.losses)) is not None]
    low, high = _own_range(place)
    if not verdicts:
        return LrRangeNote(place.name, low, high, False, NO_DESCENT, tuple(curves))
    proposed = _rounded(min(v.low for v in verdicts)), _rounded(max(v.high for v in verdicts))
    message = _told(verdicts)
    if not isinstance(place.value, Range):
        return LrRangeNote(place.name, *proposed, True, message, tuple(curves))
    narrowed = max(proposed[0], low), min(proposed[1], high)
    if narrowed[1] < LEAST_FACTOR * narrowed[0]:
        outside = f"the proposed range, {proposed[0]:g} to {proposed[1]:g}, lies outside"
        return LrRangeNote(place.name, low, high, False, f"{outside}; {message}", tuple(curves))
    return LrRangeNote(place.name, *narrowed, True, message, tuple(curves))


def with_lr_ranges(
    spec: SearchSpec, notes: Sequence[LrRangeNote], points: Sequence[Mapping[str, Scalar]] = ()
) -> SearchSpec:
    """Return a spec that searches the ranges that were found, and the values of these points."""
    found = {note.name: _widened(note, points) for note in notes if note.is_found}
    optimizer = _replaced(spec.optimizer, "optimizer", found)
    return spec.model_copy(update={"optimizer": optimizer})


def _widened(note: LrRangeNote, points: Sequence[Mapping[str, Scalar]]) -> tuple[float, float]:
    given = [point[note.name] for point in points if note.name in point]
    values = [float(x) for x in given if isinstance(x, int | float)]
    return min([note.low, *values]), max([note.high, *values])


def _replaced(tree: Tree, path: str, found: Mapping[str, tuple[float, float]]) -> Tree:
    if isinstance(tree, Choices):
        pairs = zip(tree.labels, tree.choices, strict=True)
        choices = tuple(_replaced(choice, join(path, label), found) for label, choice in pairs)
        return tree.model_copy(update={"choices": choices})
    name = join(path, LR)
    if not isinstance(tree, Mapping) or name not in found:
        return tree
    return {**tree, LR: _range(tree.get(LR), *found[name])}


def _range(own: Range | float | None, low: float, high: float) -> Range:
    """Return a range on a logarithmic scale that keeps a prior that lies in it."""
    prior = own.prior if isinstance(own, Range) else None
    if not isinstance(own, Range) or prior is None or not low <= prior <= high:
        return Range(low=low, high=high, log=True)
    return Range(low=low, high=high, log=True, prior=prior, confidence=own.confidence)


def _config(spec: SearchSpec, test: _Test) -> TrialConfig:
    batch_size = test.settings[BATCH_SIZE]
    keywords = {key: value for key, value in test.settings.items() if key != BATCH_SIZE}
    optimizer = {**test.place.optimizer, **keywords, LR: LOWEST}
    tested = spec.model_copy(
        update={**dict.fromkeys(_LEFT_OUT), "optimizer": optimizer, BATCH_SIZE: batch_size}
    )
    values: dict[str, Any] = SearchSpace.of(tested).resolve(default_configuration(tested))
    return TrialConfig(
        number=0,
        seed=spec.search.seed,
        max_epochs=spec.max_epochs,
        values=values,
        precision=spec.precision,
        device_type=spec.device,
        gpu=spec.resources.gpu,
        loader=spec.loader.model_dump(),
        folder=spec.folder,
    )


def _batch_sizes(tree: Tree) -> list[int | str]:
    """Return both ends of the batch sizes, and what lies in the middle."""
    if isinstance(tree, Range):
        low, high = int(tree.low), int(tree.high)
        between = round(math.sqrt(low * high))
        if tree.powers_of_two:
            between = tree.whole_numbers[len(tree.whole_numbers) // 2]
        return sorted({low, between, high})
    if isinstance(tree, Choices):
        sizes = [each for each in tree.choices if not isinstance(each, Range)]
        ordered = sorted(sizes, key=lambda size: math.inf if isinstance(size, str) else size)
        return list(dict.fromkeys([ordered[0], ordered[len(ordered) // 2], ordered[-1]]))
    return [tree]


def _ends(tree: Tree) -> list[float]:
    """Return both ends of what is searched of a keyword; none where it is constant."""
    if isinstance(tree, Range):
        return [float(tree.low), float(tree.high)]
    if isinstance(tree, Choices) and all(isinstance(each, int | float) for each in tree.choices):
        return [float(min(tree.choices)), float(max(tree.choices))]
    return []


def _num_steps(batch_size: int | float | str, num_rows: int) -> int:
    size = num_rows if isinstance(batch_size, str) else int(batch_size)
    return max(MIN_STEPS, min(STEPS, MAX_PASSES * num_rows // size))


def _own_range(place: LrPlace) -> tuple[float, float]:
    if isinstance(place.value, Range):
        return float(place.value.low), float(place.value.high)
    rate = place.value or LOWEST
    return rate, rate


def _told(verdicts: Sequence[LrVerdict]) -> str:
    """Say what one test shows, or several: from the least to the greatest of their rates."""
    if len(verdicts) == 1:
        return str(verdicts[0])
    steepest, minimum = _span([v.steepest for v in verdicts]), _span([v.minimum for v in verdicts])
    ups = [v.diverges for v in verdicts if v.diverges is not None]
    end = f"turns up at {_span(ups)}" if ups else "doesn't turn up"
    tests = f"in {len(verdicts)} tests the loss falls fastest at {steepest}"
    return f"{tests}, is least at {minimum} and {end}"


def _span(rates: Sequence[float]) -> str:
    low, high = f"{min(rates):.2g}", f"{max(rates):.2g}"
    return low if low == high else f"{low} to {high}"


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")


def _rounded_value(value: float) -> float:
    return float(f"{value:.5g}")


_log = logging.getLogger(__name__)

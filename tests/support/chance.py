"""Specs put together by chance from all that is registered, and what must be true of each."""

from __future__ import annotations

import inspect
import io
import random
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import torch

from hpsearch import registry
from hpsearch.components import Data
from hpsearch.errors import BadConfigurationError, DivergedError, SpecError
from hpsearch.registry import Component, ComponentOf
from hpsearch.space import SearchSpace
from hpsearch.spec import COMPONENT_SECTIONS, SearchSpec, TrialConfig, draft_spec
from hpsearch.training import Trainer, calibrate, export_model, make_trainer
from hpsearch.training.checks.by_name import run_checks
from hpsearch.training.protocol import ModelTrainer
from hpsearch.validation import check, check_spec
from tests.support.lanes import without_time
from tests.support.schedules import NEEDED
from tests.support.space import draw

DATASETS = {"wine": ["mlp"], "digits": ["mlp", "cnn", "rnn"], "diabetes": ["mlp"]}
DATASETS["breast_cancer"] = ["mlp", "perceptron"]
#: small models of few layers
SIZES: dict[str, dict[str, list[Any]]] = {
    "mlp": {"hidden_sizes": [[], [8], [12, 12]]},
    "cnn": {"channels": [[4], [4, 4]], "hidden_sizes": [[], [8]]},
    "rnn": {"hidden_size": [6]},
}
SECTIONS = [section for section in COMPONENT_SECTIONS if section not in ("dataset", "launcher")]
#: components in components in components
DEPTH = 2


class Draw:
    """Draws components with keywords by chance."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def base(self) -> dict[str, Any]:
        """Return the least that is a spec."""
        dataset = self.random.choice(list(DATASETS))
        folds = {"folds": 2} if self.random.random() < 0.15 else {}
        return {
            "name": "any",
            "objective": {"metric": "val_loss", "direction": "minimize"},
            "dataset": {"name": dataset, "train_rows": 60, **folds},
            "model": self.model(self.random.choice(DATASETS[dataset]), plain=True),
            "optimizer": "adam",
            "batch_size": self.random.choice([1, 7, 16, 29, "full"]),
            "search": {"trials": 1, "early_stopping": {"name": "asha", "max_epochs": 3}},
        }

    def model(self, name: str, *, plain: bool = False) -> dict[str, Any]:
        """Return a small model, with keywords beside its size unless it is to be plain."""
        sizes = {key: self.random.choice(values) for key, values in SIZES.get(name, {}).items()}
        keywords = {} if plain else self._keywords(registry.get("model", name), 0)
        return {"name": name, **keywords, **sizes}

    def section(self, of: ComponentOf, depth: int = 0) -> Any:
        """Return a component of a family, or some where there may be several."""
        if of.many:
            count = self.random.randint(1, 2)
            return [self.section(ComponentOf(of.family), depth) for _ in range(count)]
        name = self.random.choice(registry.names(of.family))
        keywords = self._keywords(registry.get(of.family, name), depth)
        return {"name": name, **NEEDED.get(name, {}), **keywords}

    def _keywords(self, component: Component, depth: int) -> dict[str, Any]:
        found = {}
        for key, parameter in component.keywords.items():
            of = registry.marked(parameter, ComponentOf)
            is_needed = parameter.default is inspect.Parameter.empty
            if not is_needed and self.random.random() < 0.6:
                continue
            if of is not None and not of.mapped and depth < DEPTH:
                found[key] = self.section(of, depth + 1)
            elif of is None and key in component.recommended:
                found[key] = "auto"
            elif values := list(_values(parameter.annotation)):
                found[key] = self.random.choice(values)
        return found


def _values(annotation: Any) -> Iterator[Any]:
    """Yield the values of an annotation that has few."""
    if annotation is bool:
        yield from (False, True)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _values(part)


def refusal(raw: dict[str, Any]) -> str | None:
    """Return what is wrong with a spec."""
    try:
        check(draft_spec(raw))
    except SpecError as error:
        return str(error)
    return None


def any_spec(seed: int) -> SearchSpec:
    """Return a spec to which section by section was added what is not refused."""
    by_chance = Draw(seed)
    raw = by_chance.base()
    while refusal(raw) is not None:  # a perceptron needs two classes, batch norm two rows
        raw = by_chance.base()
    for section in by_chance.random.sample(SECTIONS, len(SECTIONS)):
        for _ in range(3 if by_chance.random.random() < 0.6 else 0):
            of = COMPONENT_SECTIONS[section]
            value = (
                by_chance.model(raw["model"]["name"])
                if section == "model"
                else by_chance.section(of)
            )
            said = refusal({**raw, section: value})
            if said is None:
                raw[section] = value
                break
            assert "Error: " not in said, said  # of Python's, which says nothing of a spec
    return check(draft_spec(raw))


def data_of(spec: SearchSpec) -> Data:
    """Return a spec's data, of the kind that its task is for."""
    _, data = check_spec(spec)
    assert data is not None
    return data


def trains(seed: int) -> None:
    """Train two configurations of a spec, which resume exactly and can be exported."""
    spec = any_spec(seed)
    data = data_of(spec)
    space, rng = SearchSpace.of(spec), random.Random(seed)
    for number in range(2):
        config = TrialConfig(number, 0, spec.max_epochs, space.resolve(draw(space, rng)))
        try:
            trainer = make_trainer(config, data)
        except BadConfigurationError:  # values of ranges that don't go together end one trial
            continue
        first = trainer.trainers[0]
        if number == 0:
            run_checks(first)
        try:
            goes_on_exactly(trainer, config, data)
        except DivergedError:
            continue
        is_given_away(first)


def goes_on_exactly(trainer: ModelTrainer, config: TrialConfig, data: Data) -> None:
    """An epoch after a state was saved and loaded is that without."""
    trainer.train_epoch()
    file = io.BytesIO()
    torch.save(trainer.state_dict(), file)
    file.seek(0)
    other = make_trainer(config, data)
    other.load_state_dict(torch.load(file))
    one, two = trainer.train_epoch(), other.train_epoch()
    assert without_time(one) == without_time(two)


def is_given_away(trainer: Trainer) -> None:
    """The exported model gives the same outputs after it was saved."""
    calibrated = calibrate(trainer, [trainer])
    model = export_model(trainer, None if calibrated is None else calibrated.calibration)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    x = torch.from_numpy(trainer.data.test.x[:5])  # type: ignore[union-attr]  # all are arrays
    torch.manual_seed(0)
    outputs = model(x)
    torch.manual_seed(0)
    assert torch.equal(again(x), outputs)

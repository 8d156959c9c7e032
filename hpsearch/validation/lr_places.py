"""Where a spec has learning rates that a range test can find a range for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpsearch.spec import Choices, Range, SearchSpec, Tree, join
from hpsearch.validation.recommended import components_named

LR = "lr"


@dataclass(frozen=True)
class LrPlace:
    """Where a learning rate stands: an optimizer of a spec.

    `name` is that of the hyperparameter, such as `optimizer.sgd.lr`; `value` a range, a constant,
    or None where the optimizer has its default.
    """

    name: str
    optimizer: Mapping[str, Tree]
    value: Range | float | None

    @property
    def is_searched(self) -> bool:
        """Whether its rate is a range that a test can narrow; one in steps stays as it is."""
        return isinstance(self.value, Range) and self.value.step is None


def lr_places(spec: SearchSpec) -> list[LrPlace]:
    """Return the optimizers of a spec that have a learning rate."""
    return list(_places(spec.optimizer, "optimizer", Path(spec.folder)))


def _places(tree: Tree, path: str, folder: Path) -> Iterator[LrPlace]:
    if isinstance(tree, Choices):
        for label, choice in zip(tree.labels, tree.choices, strict=True):
            yield from _places(choice, join(path, label), folder)
    elif isinstance(tree, Mapping):
        named = components_named(tree.get("name"), "optimizer", folder)
        value = tree.get(LR)
        is_one = isinstance(value, Range | int | float) or LR not in tree
        if is_one and named and all(LR in each.keywords for each in named):
            yield LrPlace(join(path, LR), tree, value)

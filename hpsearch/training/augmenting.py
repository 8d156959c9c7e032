"""What changes inputs before they are trained on: whole batches, and single images as read."""

from __future__ import annotations

from pathlib import Path

from hpsearch import registry
from hpsearch.components.augmentations import Augmentation, augmented, refusal
from hpsearch.components.batch import Batch
from hpsearch.components.data import Data
from hpsearch.components.examples import LazyRows
from hpsearch.components.image_transforms import PerImage
from hpsearch.errors import BadConfigurationError, placed
from hpsearch.spec import COMPONENT_SECTIONS, TrialConfig
from hpsearch.training.building import build_all
from hpsearch.training.loader import Transform

SECTION = "augmentations"


class Augmenting:
    """The augmentations of a configuration; false where it has none of batches.

    `transforms` are those of single images that are read when they are needed; these come first.
    """

    def __init__(self, config: TrialConfig, data: Data) -> None:
        _check(config, data)
        built = build_all(
            config,
            SECTION,
            input_shape=data.one_shape,
            output_size=data.output_size,
            kind=data.kind,
            input_scale=data.x_scale,
        )
        of_images = [each for each in built if isinstance(each, PerImage)]
        others = [each for each in built if not isinstance(each, PerImage)]
        is_lazy = isinstance(data.train, LazyRows)
        of_batches = others if is_lazy else [*of_images, *others]
        self._of_batches: list[Augmentation] = of_batches
        self.transforms: list[Transform] = [each.transform for each in of_images if is_lazy]
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._of_batches)

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch as it is trained on; its changes are drawn from torch's generator."""
        with placed(SECTION):
            return augmented(batch, self._of_batches, self._data)


def _check(config: TrialConfig, data: Data) -> None:
    """Raise BadConfigurationError for augmentations that can't be taken for data."""
    sections = config.values.get(SECTION) or ()
    if data.encoding.needs_augmentations and not sections:
        with placed(SECTION):
            rule = f"must be given for {data.kind}, which learns from what they change"
            raise BadConfigurationError(rule)
    of, folder = COMPONENT_SECTIONS[SECTION], Path(config.folder)
    for number, section in enumerate(sections):
        name = of.written_out(section)["name"]
        if rule := refusal(registry.get("augmentation", name, folder), data):
            with placed(SECTION, number):
                raise BadConfigurationError(rule, name)

"""What components ask of the shape of an example."""

from __future__ import annotations

from hpsearch.errors import BadConfigurationError

IMAGES = "images of the shape (channels, height, width)"


def check_shape(name: str, fits: bool, needs: str, input_shape: tuple[int, ...]) -> None:
    """Raise BadConfigurationError for examples that don't fit what a component needs."""
    if not fits:
        raise BadConfigurationError(
            f"{name} needs {needs}, but an example of the data set has the shape {input_shape}"
        )


def check_images(name: str, input_shape: tuple[int, ...]) -> None:
    """Raise BadConfigurationError for examples that are no images."""
    check_shape(name, len(input_shape) == 3, IMAGES, input_shape)

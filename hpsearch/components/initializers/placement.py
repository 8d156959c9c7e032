"""Which initializer draws which weight of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from torch import nn

from hpsearch import registry
from hpsearch.errors import BadConfigurationError
from hpsearch.registry import ComponentOf, Recommended

INITIALIZER = ComponentOf("initializer")
InitializerSection = Annotated[Any, INITIALIZER]
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
#: how torch names the weights of recurrent layers, from the input and from the state
RECURRENT_WEIGHTS = ("weight_ih", "weight_hh")
#: traits of initializers: it leaves weights and biases as they are; the first batch scales its
#: weights; what it says of more than one tensor, as keywords of Placement
LEAVES_ALL, SCALES_BY_DATA, PROFILE = "leaves_all", "scales_by_data", "profile"


@dataclass(frozen=True)
class Placement:
    """Keywords that all initializers have beside their own.

    `first` and `output` are other initializers for the first and the last layer, `recurrent` one
    for the weights from a recurrent layer's state to itself. `embedding` is one for embeddings,
    which are drawn as their model has it otherwise; fan_in is the length of a vector there.
    `layers` has one for each pattern of names of weights, such as "*.weight_hh*" or "4.weight";
    of several that fit the first holds, before `recurrent` and `embedding`, and these before
    `output` and `first`. With `by_gate` each gate of a
    recurrent layer is drawn as a layer of its own, else all together, as Keras does. `forget_bias`
    is the bias of an LSTM's forget gate: torch adds two vectors there, the one gets it, the other
    0. `log_prior` begins with the frequencies of the classes or labels: the last layer's bias is
    their logarithm, or what else the head makes these probabilities of.
    """

    first: InitializerSection | None = None
    output: InitializerSection | None = None
    recurrent: InitializerSection | None = None
    embedding: InitializerSection | None = None
    layers: Annotated[Mapping[str, Any], ComponentOf("initializer", mapped=True)] | None = None
    by_gate: bool = True
    forget_bias: Annotated[float, Recommended(0.0, 2.0, prior=1.0)] | None = None
    output_bias: Literal["zero", "log_prior"] = "zero"

    def by_pattern(self, name: str) -> Any:
        """Return the initializer of the first pattern that a weight's name fits, if one does."""
        pairs = (self.layers or {}).items()
        return next((each for pattern, each in pairs if fnmatchcase(name, pattern)), None)


registry.share_keywords("initializer", Placement)


@dataclass(frozen=True)
class Choice:
    """Which initializer draws each weight of a model's `fresh` modules, which aren't pretrained.

    `first` and `last` are the names of the weights of its outer layers.
    """

    own: Mapping[str, Any]
    placement: Placement
    fresh: Mapping[str, nn.Module]
    first: Sequence[str]
    last: Sequence[str]
    folder: Path

    @classmethod
    def of(cls, model: nn.Module, section: Mapping[str, Any], folder: Path) -> Choice:
        """Read a section for a model; BadConfigurationError where they don't fit."""
        section = {**trait(section, PROFILE, folder, {}), **section}
        shared = registry.shared_keywords("initializer")
        placement = Placement(**{key: section[key] for key in shared if key in section})
        own = {key: value for key, value in section.items() if key not in shared}
        modules = dict(model.named_modules())
        is_fresh = {name: not hasattr(each, "is_pretrained") for name, each in modules.items()}
        fresh = {name: each for name, each in modules.items() if is_fresh[name]}
        _check_others(placement)
        _check_patterns(placement, [name for each in fresh.items() for name in _weights_of(*each)])
        layers = _weights_by_layer(modules) or [[]]
        _check_embedding(placement, fresh.values())
        return cls(own, placement, fresh, layers[0], layers[-1], folder)

    def section(self, name: str) -> tuple[Mapping[str, Any], bool]:
        """Return the section for a weight, and whether its gates are drawn one by one."""
        placement = self.placement
        is_state = name.rpartition(".")[2].startswith("weight_hh")
        others = (
            placement.by_pattern(name),
            placement.recurrent if is_state else None,
            placement.output if name in self.last else None,
            placement.first if name in self.first else None,
        )
        other = next(filter(None, others), None)
        if other is None:
            return self.own, placement.by_gate
        section: Mapping[str, Any] = INITIALIZER.written_out(other)
        profile = trait(section, PROFILE, self.folder, {})
        if is_state and "recurrent" in profile:
            section = INITIALIZER.written_out(profile["recurrent"])
        return section, profile.get("by_gate", placement.by_gate)

    def embedding(self, name: str) -> Mapping[str, Any] | None:
        """Return the section for an embedding's weight; None where it stays as it is."""
        placement = self.placement
        found = placement.by_pattern(name) or placement.embedding
        return None if found is None else INITIALIZER.written_out(found)

    def forget_bias(self, name: str) -> float | None:
        """Return the forget bias of an LSTM by the name of its weight from the input."""
        section, own = self.section(name)[0], self.placement.forget_bias
        if section is self.own or own is not None:
            return own
        found: float | None = trait(section, PROFILE, self.folder, {}).get("forget_bias")
        return found


def trait(section: Mapping[str, Any], name: str, folder: Path, default: Any = None) -> Any:
    """Return what the registration of a section's initializer says of it."""
    return registry.get("initializer", section["name"], folder).traits.get(name, default)


def joined(path: str, name: str) -> str:
    """Return the name of what is called `name` in the module at a path."""
    return f"{path}.{name}" if path else name


def _weights_by_layer(modules: Mapping[str, nn.Module]) -> list[list[str]]:
    """Return the names of the weights that are drawn, layer by layer, from input to output.

    The directions of a recurrent layer are one, also where they are cells of their own.
    """
    layers: dict[tuple[str, str], list[str]] = {}
    whole = [name for name, module in modules.items() if hasattr(module, "is_one_layer")]
    for path, module in modules.items():
        place = next((name for name in whole if path.startswith(f"{name}.")), path)
        if isinstance(module, nn.Embedding):  # no layer that `first` or `output` means
            continue
        for name in _weights_of(path, module):
            number = name.rpartition("_l")[2].removesuffix("_reverse")  # of torch's own layers
            stacked = number if number.isdigit() else ""
            layers.setdefault((place, stacked), []).append(name)
    return list(layers.values())


def _weights_of(path: str, module: nn.Module) -> list[str]:
    """Return the names of the weights of a module that are drawn."""
    if isinstance(module, Layer | nn.Embedding):  # whose weight may be a parametrisation's
        return [joined(path, "weight")]
    names = (name for name, _ in module.named_parameters(recurse=False))
    return [joined(path, name) for name in names if name.startswith(RECURRENT_WEIGHTS)]


def _check_patterns(placement: Placement, names: Sequence[str]) -> None:
    for pattern in placement.layers or ():
        if not any(fnmatchcase(name, pattern) for name in names):
            raise BadConfigurationError(
                f"each pattern must fit the name of a weight ({', '.join(names)}), but "
                f"{pattern!r} fits none",
                keyword="layers",
            )


def _check_embedding(placement: Placement, modules: Iterable[nn.Module]) -> None:
    if placement.embedding and not any(isinstance(each, nn.Embedding) for each in modules):
        raise BadConfigurationError(
            "must be left out for a model without embeddings to be drawn", keyword="embedding"
        )


def _check_others(placement: Placement) -> None:
    """Refuse a placement in an initializer that is one itself."""
    keys = ("first", "output", "recurrent", "embedding")
    others = {key: getattr(placement, key) for key in keys}
    others |= {f"layers.{pattern}": other for pattern, other in (placement.layers or {}).items()}
    shared = registry.shared_keywords("initializer")
    for place, other in others.items():
        inner = [key for key in INITIALIZER.written_out(other) or () if key in shared]
        if inner:
            raise BadConfigurationError(
                f"must have only its own keywords: {inner[0]} applies to the whole model, "
                f"beside {place.partition('.')[0]}",
                keyword=place,
            )

"""Components by name: registration, look-up, plug-ins, and the schema that a signature is.

A *factory* is any callable. Of its parameters, those that its family offers (`INJECTED`) are
filled by hpsearch; all others are keywords of the spec, so that a signature is a schema:

    @register("model", "mlp")
    def mlp(input_shape, output_size, hidden_sizes: list[int] = [128], dropout: float = 0.0): ...

Three families are no part of a trial's configuration: `sampler`, `early_stopping` and
`metric_source`, where a command's metrics come from.

Users register theirs with the same decorator, by an entry point in the group
`hpsearch.components`, or not at all: a spec may name `package.module:factory` or
`path/to/file.py:factory`. `register_family` adds a family, for keywords of their own components.

Annotations say more than types: `ComponentOf` marks a keyword that is itself a component,
`MetricName` one that names a metric, `Recommended` holds the range that `auto` stands for.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from hpsearch.importing import (
    called_as_program,
    import_factory,
    load_plugins,
    outliving_exits,
)

Factory = Callable[..., Any]
_Mark = TypeVar("_Mark")
#: the value of a keyword that stands for the range that its component recommends; so does `{}`
AUTO = "auto"

#: family → names of the arguments that hpsearch supplies to a factory that declares them
INJECTED: dict[str, tuple[str, ...]] = {
    "dataset": ("seed", "folder"),
    "task": (
        *("output_size", "target_std", "class_counts"),
        *("class_names", "soft_targets", "folder"),
    ),
    "loss": ("output_size", "class_counts"),
    "head": ("kind",),
    "metric": ("output_size", "class_counts"),
    "model": (
        *("folder", "input_shape", "output_size"),
        *("output_shape", "num_tokens", "input_scale"),
    ),
    "cell": ("input_size", "hidden_size"),
    "activation": (),
    "norm": ("num_features", "num_dims"),
    "dropout": (),
    "initializer": ("tensor",),
    "optimizer": ("params",),
    "lr_schedule": (),
    "momentum_schedule": (),
    "batch_schedule": (),
    "lr_scaling": (),
    "gradient_clip": (),
    "gradient_noise": (),
    "regularizer": ("model",),
    "constraint": ("model",),
    "augmentation": ("input_shape", "output_size", "kind", "input_scale"),
    "callback": ("metrics",),
    "finetune": ("model",),
    "calibration": ("kind",),
    "check": ("trainer",),
    "sampler": ("space", "seed", "direction", "rungs", "slots"),
    "early_stopping": ("max_epochs", "direction"),
    "launcher": ("config", "data", "device", "folders", "other_nodes"),
    "metric_source": ("working_dir", "files"),
    "trainable": ("config", "trial"),
}


@dataclass(frozen=True)
class Recommended:
    """The range of a keyword that searches begin with: `auto` or `{}` in a spec stands for it.

    Its prior is the keyword's default, or `prior` where that lies outside.
    """

    low: float
    high: float
    log: bool = False
    prior: float | None = None

    def to_dict(self, default: Any = None) -> dict[str, Any]:
        """Return the range as a spec would write it, for a keyword with this default."""
        prior = self._usual(default)
        return {
            "low": self.low,
            "high": self.high,
            **({"log": True} if self.log else {}),
            **({} if prior is None else {"prior": prior, "confidence": "low"}),
        }

    def _usual(self, default: Any) -> float | None:
        is_number = isinstance(default, int | float) and not isinstance(default, bool)
        fits = is_number and self.low <= default <= self.high
        return default if fits else self.prior


@dataclass(frozen=True)
class MetricName:
    """Marks a keyword that is the name of a metric of every epoch."""


@dataclass(frozen=True)
class ComponentOf:
    """Marks a keyword, or a section, whose value is a component of a family.

    The value is its name or a mapping with `name`. With `short`, a number is short for the
    component `default` with that keyword: `dropout: 0.2` for `{name: standard, rate: 0.2}`. With
    `many`, the value is a list of components, with `mapped` a mapping from names of the user's to
    components; with `optional`, there may be none. `fixed` says what of a section is the same for
    all trials of a search: `name` leaves its keywords to be searched.
    """

    family: str
    default: str = ""
    short: str = ""
    many: bool = False
    mapped: bool = False
    optional: bool = False
    fixed: Literal["nothing", "name", "all"] = "nothing"

    def __post_init__(self) -> None:
        _check_family(self.family)

    def written_out(self, value: Any) -> Any:
        """Return a component that is only its name, or only a number, as a mapping."""
        if self.short and self._is_number(value):
            return {"name": self.default, self.short: value}
        return {"name": value} if isinstance(value, str) else value

    def build(self, value: Any, folder: Path | None = None, **offered: Any) -> Any:
        """Build the component that a value stands for, which holds no ranges any more."""
        keywords = dict(self.written_out(value))
        with _user_code_from(folder):
            return get(self.family, keywords.pop("name")).build(keywords, **offered)

    @staticmethod
    def _is_number(value: Any) -> bool:
        """Whether a number, a range of numbers or the recommended range stands here."""
        if isinstance(value, Mapping):
            return not value or "low" in value or "high" in value
        return value == AUTO or not (value is None or isinstance(value, str | list))


@dataclass(frozen=True)
class Component:
    """A registered factory.

    `weight_copies` says how many copies of the model's weights it adds to a trial's state at
    most, of its keywords if these matter; None where that isn't known. `traits` are what else the
    code of its family asks about it.
    """

    family: str
    name: str
    factory: Factory
    weight_copies: int | Callable[..., int] | None = None
    traits: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def keywords(self) -> dict[str, inspect.Parameter]:
        """The parameters that a spec may set, by name (annotations evaluated)."""
        return {**shared_keywords(self.family), **self.own_keywords}

    @property
    def own_keywords(self) -> dict[str, inspect.Parameter]:
        """The keywords that the factory itself declares."""
        return {
            name: parameter
            for name, parameter in _parameters(self.factory).items()
            if name not in INJECTED[self.family] and parameter.kind not in _VARIADIC
        }

    @property
    def recommended(self) -> dict[str, Recommended]:
        """The ranges that the keywords' annotations recommend."""
        marks = {name: marked(each, Recommended) for name, each in self.keywords.items()}
        return {name: mark for name, mark in marks.items() if mark is not None}

    @property
    def takes_any_keyword(self) -> bool:
        """Whether the factory has a `**keywords` parameter."""
        parameters = inspect.signature(self.factory).parameters.values()
        return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)

    def num_weight_copies(self, keywords: Mapping[str, Any]) -> int | None:
        """Return `weight_copies` with these keywords, and the factory's defaults."""
        if not callable(self.weight_copies):
            return self.weight_copies
        defaults = {name: each.default for name, each in self.own_keywords.items()}
        return self.weight_copies(**{**defaults, **keywords})

    def build(self, keywords: Mapping[str, Any], **offered: Any) -> Any:
        """Call the factory with the spec's keywords and those offered that it declares.

        A whole number is a real one where the factory declares those, and each call gets lists and
        mappings of its own. Components that it builds in turn are looked up from the same
        `folder`, if one is offered.
        """
        parameters = inspect.signature(self.factory).parameters
        wanted = {name: value for name, value in offered.items() if name in parameters}
        with _user_code_from(offered.get("folder")), self._program():
            return self.factory(**wanted, **self._as_declared(copy.deepcopy(dict(keywords))))

    def _program(self) -> AbstractContextManager[None]:
        """Where the factory is called: as a program of its own, if a spec names its file; else
        only as one that may end its program, if it isn't ours."""
        if is_user_code(self.name):
            return called_as_program(self.name, _folder.get())
        return nullcontext() if is_ours(self.factory) else outliving_exits()

    def _as_declared(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        whole = [name for name, value in keywords.items() if type(value) in (int, list)]
        declared = self.own_keywords if whole else {}
        return {
            name: _as_real(value) if name in declared and _is_real(declared[name]) else value
            for name, value in keywords.items()
        }


@dataclass(frozen=True)
class _Library:
    """Another library's components of a family; their names here begin with its prefix."""

    prefix: str
    find: Callable[[str], Component]
    known: Callable[[], list[str]]

    def holds(self, name: str) -> bool:
        return name.startswith(self.prefix)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_components: dict[str, dict[str, Component]] = {family: {} for family in INJECTED}
_shared: dict[str, Factory] = {}
_libraries: dict[str, list[_Library]] = {}
#: the spec's folder, while a component is built
_folder: ContextVar[Path | None] = ContextVar("_folder", default=None)


def register(
    family: str,
    name: str,
    *,
    weight_copies: int | Callable[..., int] | None = None,
    traits: Mapping[str, Any] | None = None,
) -> Callable[[Factory], Factory]:
    """Register the decorated factory under a name of a family; a taken name is refused."""
    _check_family(family)

    def decorate(factory: Factory) -> Factory:
        if (other := _components[family].get(name)) is not None:
            where = other.factory.__module__
            raise ValueError(f"{family} {name!r} is registered already, by {where}")
        _components[family][name] = Component(
            family, name, factory, weight_copies, dict(traits or {})
        )
        return factory

    return decorate


def register_family(family: str, *injected: str) -> None:
    """Add a family, so that `ComponentOf(family)` can mark keywords.

    `injected` names the arguments that whoever builds its components supplies. Raises ValueError
    for a family that exists with other arguments.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", family):
        rule = "must be made of small letters, digits and _"
        raise ValueError(f"a family's name {rule}, but got {family!r}")
    if INJECTED.setdefault(family, injected) != injected:
        gets = ", ".join(INJECTED[family]) or "nothing"
        raise ValueError(f"family {family!r} exists already, and its factories get {gets}")
    _components.setdefault(family, {})


def register_library(
    family: str, prefix: str, find: Callable[[str], Component], known: Callable[[], list[str]]
) -> None:
    """Offer another library's components of a family by names that begin with a prefix.

    It ends with a mark: `po:` for `po:lion`. `find` returns one by its name in the library, or
    raises KeyError; `known` lists these names.
    """
    _libraries.setdefault(family, []).append(_Library(prefix, find, known))


def share_keywords(family: str, schema: Factory) -> None:
    """Give every component of a family the parameters of `schema` as keywords too.

    The family's own code acts on them; a factory that declares one of them gets it instead.
    """
    _shared[family] = schema


def shared_keywords(family: str) -> dict[str, inspect.Parameter]:
    """Return the keywords that all components of a family have."""
    return _parameters(_shared[family]) if family in _shared else {}


def families() -> list[str]:
    """Return all families, those of installed packages included."""
    load_plugins()
    return list(INJECTED)


def one_of(known: Iterable[str]) -> str:
    """Return the rule for the name of a component."""
    return f"must be one of {', '.join(known)}, or yours as module:factory"


def names(family: str) -> list[str]:
    """Return the names registered in a family, sorted."""
    load_plugins()
    return sorted(_components[family])


def names_like(family: str, name: str) -> list[str]:
    """Return the names among which an unknown one may be meant: a library's, by its prefix."""
    library = _library(family, name)
    if library is None:
        return names(family)
    return [f"{library.prefix}{each}" for each in library.known()]


def libraries(family: str) -> dict[str, list[str]]:
    """Return the names that other libraries have in a family, by the libraries' prefixes."""
    return {each.prefix: each.known() for each in _libraries.get(family, [])}


def prefixes_of_libraries(family: str) -> list[str]:
    """Return how the names of other libraries' components begin in a family."""
    return [each.prefix for each in _libraries.get(family, [])]


def _library(family: str, name: str) -> _Library | None:
    return next((each for each in _libraries.get(family, []) if each.holds(name)), None)


def marked(parameter: inspect.Parameter, kind: type[_Mark]) -> _Mark | None:
    """Return the mark of this kind in a parameter's annotation, at any depth of a union."""
    return _mark_in(parameter.annotation, kind)


def is_user_code(name: str) -> bool:
    """Whether a name points at user code (`module:factory`) rather than at the registry."""
    libraries = (each for of_family in _libraries.values() for each in of_family)
    return ":" in name and not any(each.holds(name) for each in libraries)


def put_aside(modules: Collection[str]) -> Callable[[], None]:
    """Forget what modules have registered; returns what puts that back in place of what they
    have registered since."""
    before = [_take(known, modules) for known in _components.values()]

    def put_back() -> None:
        for known, components in zip(_components.values(), before, strict=False):
            _take(known, modules)
            known.update(components)

    return put_back


def _take(known: dict[str, Component], modules: Collection[str]) -> dict[str, Component]:
    taken = {name: each for name, each in known.items() if _module_of(each.factory) in modules}
    for name in taken:
        del known[name]
    return taken


def is_ours(factory: Factory) -> bool:
    """Whether a factory is hpsearch's own, rather than a user's or another package's."""
    return _module_of(factory).partition(".")[0] == __name__.partition(".")[0]


def _module_of(factory: Factory) -> str:
    return getattr(factory, "__module__", None) or ""


def get(family: str, name: str, folder: Path | None = None) -> Component:
    """Return a registered component, or the user's factory that `module:factory` names.

    Raises KeyError for an unknown name and UserCodeError where user code can't be imported.
    A relative file is taken from `folder`, the spec's; by default that of the component which is
    being built.
    """
    if is_user_code(name):
        return _as_registered(
            Component(family, name, import_factory(name, folder or _folder.get()))
        )
    load_plugins()
    if (library := _library(family, name)) is not None:
        return library.find(name.removeprefix(library.prefix))
    return _components[family][name]


def _as_registered(component: Component) -> Component:
    """Return a component named by its code with what `register` said of it there, if it did."""
    for known in _components[component.family].values():
        if known.factory is component.factory:
            return replace(known, name=component.name)
    return component


@contextmanager
def _user_code_from(folder: Path | None) -> Iterator[None]:
    """Look up users' files from a folder meanwhile; from the same as before if there is none."""
    before = _folder.set(folder or _folder.get())
    try:
        yield
    finally:
        _folder.reset(before)


def _check_family(family: str) -> None:
    if family not in INJECTED:
        load_plugins()  # it may be a package's
    if family not in INJECTED:
        raise ValueError(f"family must be one of {sorted(INJECTED)}, but got {family!r}")


def _parameters(factory: Factory) -> dict[str, inspect.Parameter]:
    try:
        signature = inspect.signature(factory, eval_str=True)
    except NameError:  # a name that is imported for type checkers only
        signature = inspect.signature(factory)
    return dict(signature.parameters)


def _is_real(parameter: inspect.Parameter) -> bool:
    """Whether a parameter's numbers are real ones."""
    types = set(_types_in(parameter.annotation))
    return float in types and int not in types


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def _as_real(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_real(item) for item in value]
    return float(value) if type(value) is int else value


def _mark_in(annotation: Any, kind: type[_Mark]) -> _Mark | None:
    if isinstance(annotation, kind):
        return annotation
    marks = (_mark_in(part, kind) for part in get_args(annotation))
    return next((mark for mark in marks if mark is not None), None)

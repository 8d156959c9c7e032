"""The fields of a spec: its sections and settings, each with what it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge
from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, ValidationInfo

from hpsearch.errors import Problem, SpecError
from hpsearch.registry import ComponentOf, KerasDefault
from hpsearch.spec.command import CommandSetting, with_source_names
from hpsearch.spec.objectives import Constraints, Objectives
from hpsearch.spec.settings import Loader, Objective, Resources, SearchSettings
from hpsearch.spec.trees import Frozen, Range, Tree, parse_tree

#: trials of one worker
MAX_LANES = 100_000


def _fuse(value: object) -> object:
    """Return what YAML's `off` and `on` were in the file; ValueError for what is no setting."""
    if isinstance(value, bool):
        return "auto" if value else "off"
    if value in ("auto", "off") or (isinstance(value, int) and 1 <= value <= MAX_LANES):
        return value
    raise ValueError(f"must be auto, off or a number from 1 to {MAX_LANES:,}")


Fuse = Annotated[
    Literal["auto", "off"] | Annotated[int, Field(ge=1, le=MAX_LANES)], BeforeValidator(_fuse)
]
LastBatch = Literal["keep", "drop", "pad", "wrap"]
_Mark = TypeVar("_Mark")


def _section(value: object, info: ValidationInfo) -> Tree:
    problems: list[Problem] = []
    tree = parse_tree(value, str(info.field_name), problems)
    if problems:
        raise SpecError(problems)
    return tree


Section = Annotated[Tree, PlainValidator(_section)]


@dataclass(frozen=True)
class ValueOf:
    """Marks a section that names no component: the type of its values.

    `recommended` is the range that `auto` stands for.
    """

    annotation: Any
    recommended: Range | None = None


class SpecFields(Frozen):
    """What a spec says, with every default filled in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="of the search")
    objective: Objective = Field(description="the metric to optimise; with several, the first")
    objectives: Objectives = Field(
        (), description="several metrics to optimise, in place of `objective`: 2 to 4 of them"
    )
    constraints: Constraints = Field((), description="bounds of metrics that the best must keep")
    # The sections: these annotations are all that says which there are and what each holds.
    dataset: Annotated[
        Section,
        ComponentOf("dataset", fixed="all"),
        Field(description="the data set; the same for all trials"),
    ] = None
    environment: Annotated[
        Section,
        ComponentOf("environment", default="gymnasium", fixed="all", optional=True),
        Field(description="in place of `dataset`: what an agent learns in by reinforcement"),
    ] = None
    agent: Annotated[
        Section,
        ComponentOf("agent", optional=True),
        Field(description="how actions in an environment are learned"),
    ] = None
    task: Annotated[
        Section,
        ComponentOf("task", optional=True),
        Field(description="loss and metrics; by default those for the data set's targets"),
    ] = None
    model: Annotated[Section, ComponentOf("model"), Field(description="the model")] = None
    stages: Annotated[
        Section,
        ComponentOf("stage", default="train", many=True, optional=True),
        Field(description="what a trial trains before its last stage, as all else says it"),
    ] = None
    finetune: Annotated[
        Section,
        ComponentOf("finetune", optional=True),
        Field(description="which weights of a trained model are trained further, and how fast"),
    ] = None
    initializer: Annotated[
        Section,
        ComponentOf("initializer", optional=True),
        KerasDefault({"name": "keras_default"}),
        Field(description="how weights are initialized"),
    ] = Field({"name": "torch_default"})
    augmentations: Annotated[
        Section,
        ComponentOf("augmentation", many=True, optional=True),
        Field(description="random changes of training batches"),
    ] = None
    regularizers: Annotated[
        Section,
        ComponentOf("regularizer", many=True, optional=True),
        Field(description="penalties added to the loss"),
    ] = None
    optimizer: Annotated[
        Section, ComponentOf("optimizer"), Field(description="how weights are updated")
    ] = None
    gradient_clip: Annotated[
        Section,
        ComponentOf("gradient_clip", default="norm", short="max_norm", optional=True),
        Field(description="maximum norm of the gradient, or another clipping; null: none"),
    ] = None
    gradient_noise: Annotated[
        Section,
        ComponentOf("gradient_noise", default="gaussian", short="std", optional=True),
        Field(description="standard deviation of noise added to the gradient, or its component"),
    ] = None
    weight_constraints: Annotated[
        Section,
        ComponentOf("constraint", many=True, optional=True),
        Field(description="projections of the weights after each step"),
    ] = None
    weight_averaging: Annotated[
        Section,
        ComponentOf("weight_averaging", optional=True),
        Field(description="an average of the weights that is evaluated and kept in their place"),
    ] = None
    ensemble: Annotated[
        Section,
        ComponentOf("ensemble", optional=True),
        Field(description="weights that the training passes through, as one model"),
    ] = None
    lr_schedule: Annotated[
        Section,
        ComponentOf("lr_schedule", optional=True),
        Field(description="the learning rate over a trial's steps"),
    ] = None
    momentum_schedule: Annotated[
        Section,
        ComponentOf("momentum_schedule", optional=True),
        Field(description="the momentum over a trial's steps"),
    ] = None
    batch_schedule: Annotated[
        Section,
        ComponentOf("batch_schedule", optional=True),
        Field(description="the batch size over a trial's epochs"),
    ] = None
    lr_scaling: Annotated[
        Section,
        ComponentOf("lr_scaling", optional=True),
        Field(description="how the learning rate grows with the batch size"),
    ] = None
    # powers of two would do as well; the sampler learns more from an ordered range
    batch_size: Annotated[
        Section,
        ValueOf(
            Annotated[int, Ge(1)] | Literal["full"],
            recommended=Range(low=16, high=256, log=True, prior=64, confidence="low"),
        ),
        KerasDefault(32),
        Field(description="examples per training step"),
    ] = 64
    accumulate: Annotated[
        Section,
        ValueOf(Annotated[int, Ge(1)]),
        Field(description="parts in which a batch is computed, to take less memory"),
    ] = 1
    last_batch: Annotated[
        Section,
        ValueOf(LastBatch | None),
        Field(description="how the incomplete last batch is handled; kept by default"),
    ] = None
    callbacks: Annotated[
        Section,
        ComponentOf("callback", many=True, optional=True),
        Field(description="what runs at the end of each epoch"),
    ] = None
    calibration: Annotated[
        Section,
        ComponentOf("calibration", optional=True),
        Field(description="how the final model's probabilities are calibrated"),
    ] = None
    checks: Annotated[
        Section,
        ComponentOf("check", many=True, optional=True),
        Field(description="checks run on a trial before it trains"),
    ] = None
    defaults: Literal["keras"] | None = Field(
        None, description="of Keras, for what isn't given of the components that differ there"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="bf16 and fp16 compute in mixed precision; fp16 scales the loss"
    )
    device: Literal["cpu", "mps"] | None = Field(
        None,
        description="the device of trials that get no GPU of the cluster: the CPU by default, or "
        "Apple's GPU",
    )
    compile: bool = Field(False, description="train through torch.compile")
    fuse: Fuse = Field(
        "auto",
        description="trials that one worker trains as one program: at most so many, auto (as many "
        "as make it faster, which is measured), or off",
    )
    loader: Loader = Field(Loader(), description="how a data set that isn't in memory is read")
    trainable: Annotated[str | None, ComponentOf("trainable")] = Field(
        None, description="a training function or class: package.module:train"
    )
    command: CommandSetting | None = Field(
        None, description="a script that is run for each trial: python train.py"
    )
    metrics: Annotated[
        dict[str, Any] | None,
        BeforeValidator(with_source_names),
        ComponentOf("metric_source", optional=True),
    ] = Field(
        None, description="where a command's metrics come from; by default hpsearch.report()"
    )
    space: Annotated[
        Section, Field(description="the hyperparameters of `trainable` or `command`, by name")
    ] = None
    launcher: Annotated[
        Section,
        ComponentOf("launcher", optional=True, fixed="name"),
        Field(description="what trains a trial; by default the one that suits the other sections"),
    ] = None
    search: SearchSettings = Field(
        SearchSettings(), description="budget, seed, sampler and early stopping"
    )
    resources: Resources = Field(Resources(), description="what one trial requests of the cluster")
    storage: str | None = Field(
        None,
        pattern=r"^postgresql(\+\w+)?://",
        description="database of the record, such as postgresql://HOST/DB; default: a file",
    )
    tracking_uri: str | None = Field(
        None,
        description="MLflow's server or database, a relative path from the spec's folder; "
        "default: a file in the runs folder",
    )
    #: folder of the spec's file, from which relative paths are taken
    folder: str = Field(".", exclude=True)


def _marked(model: type[BaseModel], kind: type[_Mark]) -> dict[str, _Mark]:
    """Return the fields of a model whose annotations hold a mark of this kind."""
    fields = model.model_fields.items()
    marks = ((name, mark) for name, field in fields for mark in field.metadata)
    return {name: mark for name, mark in marks if isinstance(mark, kind)}


#: fields that name a component, but are no part of a trial's configuration
_SETTINGS = ("trainable", "metrics")
#: sections that trials of a training function or a command have too
SECTIONS_BESIDE_OWN_CODE = ("launcher",)
#: the parts of a trial that name components, and what each may name
COMPONENT_SECTIONS: Mapping[str, ComponentOf] = {
    name: of for name, of in _marked(SpecFields, ComponentOf).items() if name not in _SETTINGS
}
#: the parts of a trial that are plain values
VALUE_SECTIONS: Mapping[str, ValueOf] = _marked(SpecFields, ValueOf)
#: the parts of a trial that are something else in Keras where they aren't given
KERAS_SECTIONS: Mapping[str, Any] = {
    name: mark.value for name, mark in _marked(SpecFields, KerasDefault).items()
}
#: all parts of a trial; each may hold ranges and choices, where it isn't `fixed`
SECTIONS = (*COMPONENT_SECTIONS, *VALUE_SECTIONS)
#: those that a user's own code takes the place of
MODEL_SECTIONS = tuple(name for name in SECTIONS if name not in SECTIONS_BESIDE_OWN_CODE)
#: settings of a search that name components, by path
COMPONENT_SETTINGS: Mapping[str, ComponentOf] = {
    **{f"search.{name}": of for name, of in _marked(SearchSettings, ComponentOf).items()},
    **{name: _marked(SpecFields, ComponentOf)[name] for name in _SETTINGS},
}


def default_of(section: str) -> Any:
    """Return what a section is where a spec has none."""
    return SpecFields.model_fields[section].default

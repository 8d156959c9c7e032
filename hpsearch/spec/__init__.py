"""The spec of a search: what a user writes in YAML, checked for its shape, frozen.

A value of the *trial sections* (`SECTIONS`) is a constant, a `Range` or `Choices`, at any depth.
Whether names, keywords and data fit each other is checked by `hpsearch.validation`.
"""

from hpsearch.spec.advice import advice, likely_direction
from hpsearch.spec.command import Command
from hpsearch.spec.documents import dump_yaml, load_yaml
from hpsearch.spec.fields import (
    COMPONENT_SECTIONS,
    COMPONENT_SETTINGS,
    KERAS_SECTIONS,
    MODEL_SECTIONS,
    SECTIONS,
    SECTIONS_BESIDE_OWN_CODE,
    VALUE_SECTIONS,
    LastBatch,
    ValueOf,
    default_of,
)
from hpsearch.spec.models import SearchSpec
from hpsearch.spec.names import METRIC_NAME_RULE, is_metric_name
from hpsearch.spec.objectives import Constraint
from hpsearch.spec.reading import (
    Draft,
    apply_override,
    draft_spec,
    load_spec,
    read_draft,
    read_text,
)
from hpsearch.spec.settings import Direction, Objective, Resources, SearchSettings, sign_of
from hpsearch.spec.stopping import EarlyStopping
from hpsearch.spec.trees import (
    Choices,
    Range,
    Scalar,
    Tree,
    Unreadable,
    join,
    parse_tree,
    to_plain,
)
from hpsearch.spec.trials import TrialConfig
from hpsearch.spec.units import parse_duration, parse_size

__all__ = [
    "COMPONENT_SECTIONS",
    "COMPONENT_SETTINGS",
    "KERAS_SECTIONS",
    "MODEL_SECTIONS",
    "VALUE_SECTIONS",
    "LastBatch",
    "ValueOf",
    "default_of",
    "METRIC_NAME_RULE",
    "SECTIONS",
    "SECTIONS_BESIDE_OWN_CODE",
    "Choices",
    "Command",
    "Constraint",
    "Direction",
    "Draft",
    "EarlyStopping",
    "Objective",
    "Range",
    "Resources",
    "Scalar",
    "SearchSettings",
    "SearchSpec",
    "Tree",
    "TrialConfig",
    "Unreadable",
    "advice",
    "apply_override",
    "draft_spec",
    "dump_yaml",
    "is_metric_name",
    "join",
    "likely_direction",
    "load_spec",
    "load_yaml",
    "parse_duration",
    "parse_size",
    "parse_tree",
    "read_draft",
    "read_text",
    "sign_of",
    "to_plain",
]

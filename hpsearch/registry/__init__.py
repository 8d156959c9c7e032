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
`MetricName` one that names a metric, `Recommended` holds the range that `auto` stands for,
`KerasDefault` the default of Keras where it is another.
"""

from __future__ import annotations

from hpsearch.registry.component import Component, is_ours, is_user_code
from hpsearch.registry.component_of import AUTO, ComponentOf
from hpsearch.registry.family import (
    INJECTED,
    families,
    register_family,
    share_keywords,
    shared_keywords,
)
from hpsearch.registry.lookup import (
    get,
    libraries,
    names,
    names_like,
    one_of,
    prefixes_of_libraries,
    put_aside,
    register,
    register_library,
)
from hpsearch.registry.signatures import KerasDefault, MetricName, Recommended, marked

__all__ = [
    "AUTO",
    "INJECTED",
    "Component",
    "ComponentOf",
    "KerasDefault",
    "MetricName",
    "Recommended",
    "families",
    "get",
    "is_ours",
    "is_user_code",
    "libraries",
    "marked",
    "names",
    "names_like",
    "one_of",
    "prefixes_of_libraries",
    "put_aside",
    "register",
    "register_family",
    "register_library",
    "share_keywords",
    "shared_keywords",
]

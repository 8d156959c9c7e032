"""The annotations of a spec's fields are the one place that says which sections there are."""

from __future__ import annotations

import pytest

from hpsearch import registry
from hpsearch.catalogue import place_of
from hpsearch.registry import ComponentOf
from hpsearch.schema import json_schema
from hpsearch.spec import (
    COMPONENT_SECTIONS,
    COMPONENT_SETTINGS,
    SECTIONS,
    VALUE_SECTIONS,
    SearchSpec,
    default_of,
)

SETTINGS = {
    "name",
    "objective",
    "objectives",
    "constraints",
    "search",
    "resources",
    "loader",
    "storage",
    "tracking_uri",
    "folder",
}
OPTIONS = {
    "defaults",
    "precision",
    "device",
    "compile",
    "fuse",
    "trainable",
    "command",
    "metrics",
    "space",
}


def test_every_field_is_a_section_or_a_setting() -> None:
    assert SearchSpec.model_fields.keys() == {*SECTIONS, *SETTINGS, *OPTIONS}
    assert len(SECTIONS) == len(set(SECTIONS))
    assert set(SECTIONS) == {*COMPONENT_SECTIONS, *VALUE_SECTIONS}


def test_every_family_is_named_somewhere() -> None:
    for family in registry.INJECTED:
        if registry.names(family):
            assert place_of(family), family
    named = {of.family for of in (*COMPONENT_SECTIONS.values(), *COMPONENT_SETTINGS.values())}
    assert named >= {"dataset", "model", "sampler", "early_stopping", "launcher", "trainable"}
    assert COMPONENT_SETTINGS["search.early_stopping"].family == "early_stopping"


def test_a_mark_of_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="family must be one of .* but got 'modell'"):
        ComponentOf("modell")


def test_the_schema_has_the_defaults_and_descriptions_of_the_fields() -> None:
    properties = json_schema()["properties"]
    for section in VALUE_SECTIONS:
        assert properties[section]["default"] == default_of(section)
    for section in SECTIONS:
        description = SearchSpec.model_fields[section].description
        assert properties[section]["description"] == description != ""

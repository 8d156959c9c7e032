"""Marks of values that are components, in annotations of keywords and of sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpsearch.registry.component import user_code_from
from hpsearch.registry.family import INJECTED, check_family
from hpsearch.registry.lookup import get

#: the value of a keyword that stands for the range that its component recommends; so does `{}`
AUTO = "auto"


@dataclass(frozen=True)
class ComponentOf:
    """Marks a keyword, or a section, whose value is a component of a family.

    The value is its name or a mapping with `name`. With `short`, a number is short for the
    component `default` with that keyword: `dropout: 0.2` for `{name: standard, rate: 0.2}`;
    without it the name of `default` may be left out. With
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
        check_family(self.family)

    def written_out(self, value: Any) -> Any:
        """Return a component that is only its name, or only a number, as a mapping."""
        if self.short and self._is_number(value):
            return {"name": self.default, self.short: value}
        if self.default and not self.short and isinstance(value, Mapping) and "name" not in value:
            return {"name": self.default, **value}
        return {"name": value} if isinstance(value, str) else value

    def build(self, value: Any, folder: Path | None = None, **offered: Any) -> Any:
        """Build the component that a value stands for, which holds no ranges any more."""
        keywords = dict(self.written_out(value))
        if folder is not None and "folder" in INJECTED[self.family]:
            offered["folder"] = folder
        with user_code_from(folder):
            return get(self.family, keywords.pop("name")).build(keywords, **offered)

    @staticmethod
    def _is_number(value: Any) -> bool:
        """Whether a number, a range of numbers or the recommended range stands here."""
        if isinstance(value, Mapping):
            return not value or "low" in value or "high" in value
        return value == AUTO or not (value is None or isinstance(value, str | list))

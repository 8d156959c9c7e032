"""YAML as specs use it: safe, of a bounded size, each key once, `1e-4` a number."""

from __future__ import annotations

import re
from typing import Any

import yaml

#: far beyond any spec; what is larger, or grows larger by its aliases, is a mistake or an attack
MAX_CHARACTERS = 256_000
MAX_DEPTH = 50
MAX_NODES = 100_000


def load_yaml(text: str) -> Any:
    """Return what a document says; raises yaml.YAMLError."""
    _check_size(text)
    try:
        return yaml.load(text, Loader=_Loader)
    except ValueError as error:  # a date or number that can't be, such as 2001-99-99
        raise yaml.YAMLError(str(error)) from error


def _check_size(text: str) -> None:
    """Count nodes as they are once aliases are followed, without building any."""
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it must have at most {MAX_CHARACTERS:,} characters")
    sizes: dict[str, int] = {}  # of what an anchor names
    open_nodes: list[tuple[str | None, int]] = []
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.AliasEvent):
            count += sizes.get(event.anchor or "", 1)
        else:
            count += 1
        if len(open_nodes) > MAX_DEPTH:
            raise yaml.YAMLError(f"it must be nested at most {MAX_DEPTH} deep")
        if count > MAX_NODES:
            raise yaml.YAMLError(f"it must have at most {MAX_NODES:,} values")


class _Loader(yaml.SafeLoader):
    """YAML in which `1e-4` is a number, as YAML 1.2 says, and a key that comes twice an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose keys all differ."""
        keys = [key.value for key, _ in node.value if key.value != "<<"]
        twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
        if twice is not None:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"the key {twice!r} comes twice in the mapping at line {line}")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)

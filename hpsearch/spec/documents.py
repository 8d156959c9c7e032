"""YAML as specs use it: safe, of a bounded size, each key once, `1e-4` a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

#: far beyond any spec; what is larger, or grows larger by its aliases, is a mistake or an attack
MAX_CHARACTERS = 256_000
MAX_DEPTH = 50
MAX_NODES = 20_000
#: values of one list, keys of one mapping
MAX_ENTRIES = 2_000
MAX_TEXT = 20_000
#: characters of one number: a longer one takes Python longer than its length
MAX_NUMBER = 100


def load_yaml(text: str) -> Any:
    """Return what a document says; raises yaml.YAMLError."""
    _check_size(text)
    try:
        return yaml.load(text, Loader=_Loader)
    except ValueError as error:  # a date or number that can't be, such as 2001-99-99
        raise yaml.YAMLError(str(error)) from error


def dump_yaml(value: Any, **options: Any) -> str:
    """Return plain values as YAML that `load_yaml` reads back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, **options)
    return text


@dataclass
class _Open:
    """A list or mapping that has begun: what was counted before it, and its own entries."""

    anchor: str | None
    before: int
    per_entry: int  # nodes: two of a mapping, its key and its value
    num_nodes: int = 0


def _check_size(text: str) -> None:
    """Count nodes as they are once aliases are followed, without building any."""
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it must have at most {MAX_CHARACTERS:,} characters")
    sizes: dict[str, int] = {}  # of what an anchor names
    around: list[_Open] = []
    count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            ended = around.pop()
            if ended.anchor is not None:
                sizes[ended.anchor] = count - ended.before
        elif isinstance(event, yaml.NodeEvent):
            count += sizes.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1
            _count_entry(around)
        if isinstance(event, yaml.ScalarEvent):
            _check_scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            around.append(_Open(event.anchor, count - 1, 2 if is_mapping else 1))
        if len(around) > MAX_DEPTH:
            raise yaml.YAMLError(f"it must be nested at most {MAX_DEPTH} deep")
        if count > MAX_NODES:
            raise yaml.YAMLError(f"it must have at most {MAX_NODES:,} values")


def _count_entry(around: list[_Open]) -> None:
    if around:
        around[-1].num_nodes += 1
        if around[-1].num_nodes > MAX_ENTRIES * around[-1].per_entry:
            rule = f"a list or mapping must have at most {MAX_ENTRIES:,} entries"
            raise yaml.YAMLError(rule)


def _check_scalar(event: yaml.ScalarEvent) -> None:
    where = f"at line {event.start_mark.line + 1}" if event.start_mark else "somewhere"
    if len(event.value) > MAX_TEXT:
        raise yaml.YAMLError(f"a text must have at most {MAX_TEXT:,} characters ({where})")
    is_plain = event.implicit[0]
    if is_plain and len(event.value) > MAX_NUMBER and event.value[0] in "+-.0123456789":
        rule = f"a number must have at most {MAX_NUMBER} characters ({where}; quote a text)"
        raise yaml.YAMLError(rule)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML in which `1e-4` is a number, as YAML 1.2 says, and a key that comes twice an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose keys all differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                line = node.start_mark.line + 1
                rule = f"the key {key.value!r} comes twice in the mapping at line {line}"
                raise yaml.YAMLError(rule)
            seen.add(key.value)
        constructed: dict[Any, Any] = super().construct_mapping(node, deep)
        return constructed


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `_Loader` would take for something else."""


def _refuse(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    """Refuse what Python means otherwise, and YAML takes for a text."""
    line, quoted = node.start_mark.line + 1, f"quote it where the text is meant: {node.value!r}"
    form = "null" if node.value == "None" else "a list, such as [1, 2]"
    raise yaml.YAMLError(f"line {line}: {node.value} is a text in YAML: write {form}; {quoted}")


#: None, and tuples: whole ones, and how they begin where YAML divides a list at their commas
_PYTHON = re.compile(r"^(None|\([-+.\w'\" ]+(,[-+.\w'\" ]*)+\)|\([-+.\w'\"]+)$")
_FLOAT = re.compile(r"^[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$")
_Loader.add_constructor("!python", _refuse)
for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver("!python", _PYTHON, ["N", "("])
    _each.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))

"""Durations and sizes as texts: `1h30m`, `20GB`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Turn `90`, `45s`, `30m`, `2h`, `1h30m` or `1d` into seconds.

    >>> parse_duration("1h30m")
    5400.0
    """
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", value)
    if not parts or re.sub(r"\d+(?:\.\d+)?\s*[smhd]|\s", "", value):
        raise ValueError("must be seconds or a text such as 45s, 30m, 1h30m, 2d")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_size(value: object) -> object:
    """Turn `500MB`, `20GB` or `1.5TB` into bytes.

    >>> parse_size("1.5 GB")
    1500000000
    """
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)\s*", value)
    if match is None:
        raise ValueError("must be bytes or a text such as 500MB, 20GB, 1.5TB")
    return round(float(match[1]) * _BYTES[match[2]])


def _or_text(kind: str, pattern: str) -> WithJsonSchema:
    number = {"type": kind, "exclusiveMinimum": 0}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}]})


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0),
    _or_text("number", r"^(\s*\d+(\.\d+)?\s*[smhd])+\s*$"),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0),
    _or_text("integer", r"^\s*\d+(\.\d+)?\s*[KMGT]?B\s*$"),
]

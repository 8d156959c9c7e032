"""Durations and sizes as texts: `1h30m`, `20GB`.

Texts and numbers are bounded before a pattern sees them, and no pattern can backtrack.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

MAX_CHARACTERS = 40
#: bytes; a database keeps no larger number
MAX_SIZE = 2**63 - 1
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
#: one number with its unit; what a part begins with is never what the one before may end with
_PART = r"\d{1,12}(?:\.\d{1,9})?[ ]?"
_DURATION = re.compile(rf"(?:{_PART}[smhd][ ]?)+")
_SIZE = re.compile(rf"({_PART})([KMGT]?B)")


def parse_duration(value: object) -> object:
    """Turn `90`, `45s`, `30m`, `2h`, `1h30m` or `1d` into seconds.

    >>> parse_duration("1h30m")
    5400.0
    """
    if not isinstance(value, str):
        return value
    text = value.strip() if len(value) <= MAX_CHARACTERS else ""
    if not _DURATION.fullmatch(text):
        raise ValueError("must be seconds or a text such as 45s, 30m, 1h30m, 2d")
    parts = re.findall(rf"({_PART})([smhd])", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def parse_size(value: object) -> object:
    """Turn `500MB`, `20GB` or `1.5TB` into bytes.

    >>> parse_size("1.5 GB")
    1500000000
    """
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip()) if len(value) <= MAX_CHARACTERS else None
    if match is None:
        raise ValueError("must be bytes or a text such as 500MB, 20GB, 1.5TB")
    return round(float(match[1]) * _BYTES[match[2]])


def _or_text(kind: str, pattern: str) -> WithJsonSchema:
    number = {"type": kind, "exclusiveMinimum": 0}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": pattern}]})


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    Field(gt=0, allow_inf_nan=False),
    _or_text("number", rf"^({_PART}[smhd] ?)+$"),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(gt=0, le=MAX_SIZE),
    _or_text("integer", rf"^{_PART}[KMGT]?B$"),
]

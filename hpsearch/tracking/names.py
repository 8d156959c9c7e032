"""Names as MLflow takes them, for metrics, params and tags alike.

MLflow 3.17 takes letters, digits, `_-.:/` and spaces, at most 250 characters, and paths that are
normalised. What else a name has is written as `_xHEX_`, its code point in hexadecimal, as
spreadsheets do (ISO/IEC 29500): `recall@10` is `recall_x0040_10` in MLflow. A `_` that would begin
such an escape by itself is escaped too, so no two names become one; a name that gets too long is
cut and ends in its SHA-256 in place of a code point.
"""

from __future__ import annotations

import hashlib
import re

#: in characters
MAX_NAME = 250
_HASH_DIGITS = 24
_ESCAPED = re.compile(
    r"""
    [^/\w.\-:\ ]                        # what MLflow refuses anywhere
    | _(?=x[0-9A-F]*(?:[^\w\-:\ ]|_))   # what would read as an escape
    | (?<![^/])\.(?=\.?(?:/|\Z))        # the parts . and .. of a path
    | ^\.(?=\.)                         # two dots at the beginning
    | ^/ | /(?=/|\Z)                    # parts of a path that are empty
    """,
    re.VERBOSE,
)


def mlflow_name(name: str) -> str:
    """Return a name that MLflow takes, another one for each name.

    >>> mlflow_name("recall@10"), mlflow_name("val_loss"), mlflow_name("a//b")
    ('recall_x0040_10', 'val_loss', 'a_x002F_/b')
    """
    escaped = _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", name) or "_x_"
    if len(escaped) <= MAX_NAME:
        return escaped
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    tail = f"_x{digest[:_HASH_DIGITS].upper()}_"
    return escaped[: MAX_NAME - len(tail)] + tail

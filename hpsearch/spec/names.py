"""Names of metrics, which training code may choose."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

MAX_METRIC_NAME = 250
METRIC_NAME_RULE = f"must be 1 to {MAX_METRIC_NAME} printable characters"


def is_metric_name(name: object) -> bool:
    """Whether a metric may have this name.

    >>> is_metric_name("recall@10 (top %)"), is_metric_name("two\\nlines")
    (True, False)
    """
    return isinstance(name, str) and 0 < len(name) <= MAX_METRIC_NAME and name.isprintable()


def _check_objective(name: str) -> str:
    if not is_metric_name(name):
        raise ValueError(METRIC_NAME_RULE)
    if name == "epoch":
        raise ValueError("must be a metric, and epoch is the number of a report")
    return name


ObjectiveName = Annotated[
    str, Field(min_length=1, max_length=MAX_METRIC_NAME), AfterValidator(_check_objective)
]

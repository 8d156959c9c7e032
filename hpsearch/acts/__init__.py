"""What users do to a running search: stop, extend or clone a trial, narrow a range, pause.

An act is a file in the search's folder (`requests`) until its driver takes it into the record;
`checks` says what may be done now, to the user who asks and to the driver again.
"""

from __future__ import annotations

from hpsearch.acts.asking import ask, plain_act, plain_acts
from hpsearch.acts.checks import check_act, refusal
from hpsearch.acts.requests import pending, request, withdraw

__all__ = [
    "ask",
    "check_act",
    "pending",
    "plain_act",
    "plain_acts",
    "refusal",
    "request",
    "withdraw",
]

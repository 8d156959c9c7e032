"""Waiting for what another thread or process does: the one place of the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    holds: Callable[[], object],
    timeout_s: float = 30.0,
    interval_s: float = 0.01,
    why: Callable[[], object] = lambda: "it didn't happen in time",
) -> None:
    """Poll until something holds; an assertion that says `why` where it doesn't in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(interval_s)

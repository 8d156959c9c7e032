"""Ctrl-C and SIGTERM end a search cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hpsearch.tuning.control import SearchControl


@contextmanager
def cancelled_by_signals(control: SearchControl) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the search cleanly; the second one interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def cancel(number: int, frame: object) -> None:
        restore()
        control.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, cancel)
    try:
        yield
    finally:
        restore()

"""A function that runs step by step: in a thread that moves only while its owner waits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from hpsearch.errors import UserCodeError

#: seconds that a function has to unwind once it is closed
UNWINDING_TIME_S = 10.0


class Lockstep:
    """Runs a function from one `put` to the next; the function calls `put` and `check_wanted`."""

    def __init__(self, function: Callable[[], None], name: str) -> None:
        self.item: Any = None
        self._function = function
        self._error: Exception | None = None
        self._is_over = self._is_last = self._is_closed = False
        self._wanted, self._ready = threading.Semaphore(0), threading.Semaphore(0)
        # A daemon: a function that never returns must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def advance(self, is_last: bool = False) -> bool:
        """Let the function run until it puts the next `item`; False if it returned instead.

        Raises what the function raised. With `is_last` the function ends where it puts again.
        """
        if self._is_over:
            return False
        if not self._thread.is_alive():
            self._thread.start()
        self._is_last = is_last
        self._wanted.release()
        self._ready.acquire()
        if self._error is not None:
            raise self._error
        return not self._is_over

    def close(self) -> None:
        """End the function where it waits, so that it unwinds; what it raises then is logged."""
        if self._is_over or not self._thread.is_alive():
            self._is_over = True
            return
        self._is_closed = True
        self._wanted.release()
        self._thread.join(UNWINDING_TIME_S)
        if self._thread.is_alive():
            _log.warning("%s goes on after its end", self._thread.name)
        elif self._error is not None:
            _log.warning("%s raised after its end", self._thread.name, exc_info=self._error)

    def put(self, item: Any) -> None:
        """Hand over an item; returns when the next is wanted."""
        self.check_wanted()
        self.item = item
        self._ready.release()
        self._wanted.acquire()
        if self._is_closed:
            raise _Ended

    def check_wanted(self) -> None:
        """Unwind the function here if no further item is wanted."""
        if self._is_last or self._is_closed:
            raise _Ended

    def _run(self) -> None:
        self._wanted.acquire()
        try:
            self._function()
        except _Ended:
            pass
        except Exception as error:
            self._error = error
        except BaseException as error:  # sys.exit() would end the worker, and other trials
            self._error = UserCodeError(f"{self._thread.name}: raised {error!r}")
            self._error.__cause__ = error
        self._is_over = True
        self._ready.release()


class _Ended(BaseException):
    """Unwinds a function of which nothing more is wanted; `except Exception` lets it pass."""


_log = logging.getLogger(__name__)

"""A function that runs step by step, in its owner's thread, which may be the main one.

Signals, multiprocessing, DataLoader workers and torch.distributed want the main thread. So the
function is a greenlet: it has a stack of its own, on which it waits between two steps.
"""

from __future__ import annotations

import contextvars
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

from hpsearch.errors import UserCodeError
from hpsearch.importing import exit_reason
from hpsearch.reporting import finish_mlflow_runs
from hpsearch.training.user_code.settings import UserSettings

#: how often a function may ignore its end before it is left where it waits
MAX_IGNORED_ENDS = 100
#: functions that ignored their ends: to forget one would try to end it again
abandoned: list[Lockstep] = []


class Lockstep:
    """Runs a function from one `put` to the next, which the function calls.

    All in one thread. `folder` and `arguments` are the function's working directory and sys.argv.
    """

    def __init__(
        self, function: Callable[[], None], name: str, folder: Path, arguments: list[str]
    ) -> None:
        self.item: Any = None
        #: whether the function put another item after its last
        self.was_cut_short = False
        self._function, self._name = function, name
        self._error: BaseException | None = None
        self._is_over = self._is_last = self._is_closed = False
        self._is_ahead = self._may_rest = False
        self._num_ends = 0
        self._process = os.getpid()
        self._settings = UserSettings(folder, arguments)
        self._greenlet = greenlet(self._run)
        self._greenlet.gr_context = contextvars.copy_context()

    def advance(self, is_last: bool = False) -> bool:
        """Let the function run until it puts the next `item`; False if it returned instead.

        Raises what the function raised. With `is_last` the function ends where it puts again.
        """
        is_ahead, self._is_ahead = self._is_ahead, False
        if not is_ahead:
            if self._is_over:
                return False
            self._is_last = is_last
            self._switch()
        if self._error is not None:
            raise self._error
        return not self._is_over

    def advance_to_rest(self) -> bool:
        """Let the function run until it rests; False if it put, returned or raised before that,
        which the next `advance` then tells."""
        if self._is_over or self._is_ahead:
            return False
        self._is_last, self._may_rest = False, True
        self._switch()
        self._is_ahead, self._may_rest = self._may_rest, False
        if isinstance(self._error, KeyboardInterrupt):
            raise self._error
        return not self._is_ahead

    def close(self) -> None:
        """End the function where it waits, so that it unwinds; what it raises then is logged.

        Only KeyboardInterrupt is passed on.
        """
        if self._is_over or not self._greenlet:
            self._is_over = True
            return
        self._is_closed = True
        self._switch()
        if isinstance(self._error, KeyboardInterrupt):
            raise self._error
        if self._error is not None:
            _log.warning("%s raised after its end", self._name, exc_info=self._error)

    def put(self, item: Any) -> None:
        """Hand over an item; returns when the next is wanted."""
        if getcurrent() is not self._greenlet or os.getpid() != self._process:
            rule = "must be reported from the thread and process of the training function"
            raise UserCodeError(f"{self._name}: metrics {rule}")
        self.cut_short()
        self.item = item
        self._wait()
        if self._is_closed:
            self._end()

    def rest(self) -> None:
        """Wait here if the owner wants that; returns when the next item is wanted."""
        if self._may_rest and getcurrent() is self._greenlet and os.getpid() == self._process:
            self._may_rest = False
            self._wait()
            if self._is_closed:
                self._end()

    def cut_short(self) -> None:
        """Unwind the function from here if nothing more is wanted of it."""
        if self._is_last or self._is_closed:
            self.was_cut_short |= self._is_last
            self._end()

    def _switch(self) -> None:
        self._greenlet.parent = getcurrent()
        with self._settings.applied():
            self._greenlet.switch()

    def _wait(self) -> None:
        assert self._greenlet.parent is not None
        self._greenlet.parent.switch()

    def _end(self) -> None:
        """Unwind the function from here; leave it where it is if it keeps continuing."""
        finish_mlflow_runs()
        self._num_ends += 1
        if self._num_ends > MAX_IGNORED_ENDS:
            _log.warning("%s keeps running after it was closed", self._name)
            abandoned.append(self)
            self._is_over = True
            while True:
                self._wait()
        raise _Ended

    def _run(self) -> None:
        try:
            self._function()
        except GreenletExit:
            pass
        except (Exception, KeyboardInterrupt) as error:
            self._error = error
        except BaseException as error:  # sys.exit() would end the worker, and other trials
            why = exit_reason(error) if isinstance(error, SystemExit) else f"raised {error!r}"
            self._error = UserCodeError(f"{self._name}: {why}").with_traceback(error.__traceback__)
            self._error.__cause__ = error
        self._is_over = True


class _Ended(GreenletExit):  # type: ignore[misc]  # greenlet ships no types
    """Unwinds a function of which nothing more is wanted; `except Exception` lets it pass."""


_log = logging.getLogger(__name__)

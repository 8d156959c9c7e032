"""A cache in memory: bounded by items, size and age, and safe to use from many threads."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True)
class _Entry(Generic[Value]):
    value: Value
    stamp: object
    size: int
    kept_at: float


class Cache(Generic[Key, Value]):
    """Values by key. Over a bound, the least recently used are dropped, but never the last one."""

    def __init__(
        self,
        max_items: float = math.inf,
        max_size: float = math.inf,
        max_age_s: float = math.inf,
        size: Callable[[Value], int] = lambda value: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_items, self._max_size, self._max_age_s = max_items, max_size, max_age_s
        self._size_of, self._clock = size, clock
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        #: held while a key's value is made; each lives as long as a thread uses it
        self._making: WeakValueDictionary[Key, threading.Lock] = WeakValueDictionary()

    def find(self, key: Key, stamp: object = None) -> Value | None:
        """Return a kept value; None if it is too old or of another stamp, such as a version."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry.stamp != stamp or self._is_old(entry):
                return None
            self._entries.move_to_end(key)
            return entry.value

    def keep(self, key: Key, value: Value, stamp: object = None) -> None:
        """Keep a value in the place of its key's earlier one."""
        entry = _Entry(value, stamp, self._size_of(value), self._clock())
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self._size += entry.size
            while len(self._entries) > 1 and self._is_full():
                self._drop(next(iter(self._entries)))

    def get(self, key: Key, make: Callable[[], Value], stamp: object = None) -> Value:
        """Return a value; if it isn't kept, one thread makes it and the others of its key wait."""
        found = self.find(key, stamp)
        if found is not None:
            return found
        with self._lock_of(key):
            found = self.find(key, stamp)
            if found is None:
                found = make()
                self.keep(key, found, stamp)
            return found

    def update(self, key: Key, change: Callable[[Value | None], Value]) -> Value:
        """Keep and return what `change` makes of a value, one thread at a time for each key."""
        with self._lock_of(key):
            value = change(self.find(key))
            self.keep(key, value)
            return value

    def drop(self, key: Key) -> None:
        """Drop a value."""
        with self._lock:
            self._drop(key)

    def _lock_of(self, key: Key) -> threading.Lock:
        with self._lock:
            return self._making.setdefault(key, threading.Lock())

    def _drop(self, key: Key) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._size -= entry.size

    def _is_old(self, entry: _Entry[Value]) -> bool:
        return self._clock() - entry.kept_at > self._max_age_s

    def _is_full(self) -> bool:
        return len(self._entries) > self._max_items or self._size > self._max_size

"""The cache that all of the service shares."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hpsearch.service.cache.cache import Cache


class TestBounds:
    def test_the_least_recently_used_is_dropped_first(self) -> None:
        cache: Cache[str, int] = Cache(max_items=2)
        cache.keep("a", 1)
        cache.keep("b", 2)
        assert cache.find("a") == 1
        cache.keep("c", 3)
        assert [cache.find(key) for key in "abc"] == [1, None, 3]

    def test_sizes_together_are_bounded(self) -> None:
        cache: Cache[str, bytes] = Cache(max_size=8, size=len)
        for key in "abab":  # kept twice, it counts once
            cache.keep(key, b"1234")
        assert [cache.find(key) for key in "ab"] == [b"1234", b"1234"]
        cache.keep("large", b"123456789")
        assert [cache.find(key) for key in ("a", "b", "large")] == [None, None, b"123456789"]
        cache.drop("large")
        cache.keep("a", b"1234")
        cache.keep("b", b"1234")
        assert cache.find("a") == b"1234"

    def test_a_value_lives_for_its_age(self) -> None:
        now = [0.0]
        cache: Cache[str, int] = Cache(max_age_s=10, clock=lambda: now[0])
        cache.keep("a", 1)
        now[0] = 10.0
        assert cache.find("a") == 1
        now[0] = 10.1
        assert cache.find("a") is None
        assert cache.get("a", lambda: 2) == 2
        assert cache.find("a") == 2


class TestGet:
    def test_a_value_is_made_once_for_each_stamp(self) -> None:
        cache: Cache[str, int] = Cache()
        assert cache.get("a", lambda: 1, "first") == 1
        assert cache.get("a", lambda: 2, "first") == 1
        assert cache.get("a", lambda: 2, "second") == 2
        assert cache.find("a", "first") is None

    def test_many_threads_make_it_once(self) -> None:
        cache: Cache[str, int] = Cache()
        made, all_ask = [], threading.Barrier(8)

        def make() -> int:
            made.append(1)
            return len(made)

        def ask() -> int:
            all_ask.wait(30)
            return cache.get("a", make)

        with ThreadPoolExecutor(8) as threads:
            found = [future.result() for future in [threads.submit(ask) for _ in range(8)]]
        assert found == [1] * 8

    def test_what_cannot_be_made_is_tried_again(self) -> None:
        cache: Cache[str, bytes] = Cache()
        with pytest.raises(ValueError):
            cache.get("a", lambda: bytes(-1))
        assert cache.get("a", lambda: b"made") == b"made"


class TestUpdate:
    def test_a_value_is_changed_by_one_thread_at_a_time(self) -> None:
        cache: Cache[str, int] = Cache()

        def add_one() -> None:
            for _ in range(500):
                cache.update("a", lambda kept: (kept or 0) + 1)

        with ThreadPoolExecutor(4) as threads:
            for future in [threads.submit(add_one) for _ in range(4)]:
                future.result()
        assert cache.find("a") == 2000

    def test_no_other_key_waits_for_it(self) -> None:
        cache: Cache[str, int] = Cache()
        begun, go_on = threading.Event(), threading.Event()

        def slow(kept: int | None) -> int:
            begun.set()
            assert go_on.wait(30)
            return 1

        thread = threading.Thread(target=cache.update, args=("slow", slow))
        thread.start()
        assert begun.wait(30)
        assert cache.update("other", lambda kept: 2) == 2
        assert cache.find("slow") is None
        go_on.set()
        thread.join()
        assert cache.find("slow") == 1

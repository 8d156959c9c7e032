"""Answers that are made once for each version of a record."""

from __future__ import annotations

import threading

from hpsearch.service.cache.responses import ResponseCache


def test_an_answer_is_made_once_for_each_version() -> None:
    answers, made = ResponseCache(), []

    def make(text: str) -> bytes:
        made.append(text)
        return text.encode()

    assert answers.get(("a",), "1", lambda: make("one")) == b"one"
    assert answers.get(("a",), "1", lambda: make("two")) == b"one"
    assert answers.get(("a",), "2", lambda: make("two")) == b"two"
    assert made == ["one", "two"]


def test_those_that_were_asked_for_last_are_kept() -> None:
    answers = ResponseCache(max_bytes=8)
    for name in "abab":
        answers.get((name,), "1", lambda: b"1234")
    answers.get(("a",), "1", lambda: b"none")
    answers.get(("c",), "1", lambda: b"1234")  # no room for b
    assert answers.get(("a",), "1", lambda: b"made") == b"1234"
    assert answers.get(("b",), "1", lambda: b"made") == b"made"


def test_nobody_waits_for_what_others_make() -> None:
    answers, begun, go_on = ResponseCache(), threading.Event(), threading.Event()
    answers.get(("kept",), "1", lambda: b"kept")

    def make() -> bytes:
        begun.set()
        assert go_on.wait(30)
        return b"slow"

    slow = threading.Thread(target=answers.get, args=(("slow",), "1", make))
    slow.start()
    assert begun.wait(30)
    assert answers.get(("kept",), "1", make) == b"kept"
    go_on.set()
    slow.join()

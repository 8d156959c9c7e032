"""Answers that are made once for each state of a record."""

from __future__ import annotations

import threading

import pytest

from hpsearch.service.cache.responses import Answers


def test_an_answer_is_made_once_for_each_key() -> None:
    answers, made = Answers(), []

    def make(text: str) -> bytes:
        made.append(text)
        return text.encode()

    assert answers.get(("a", 1), lambda: make("one")) == b"one"
    assert answers.get(("a", 1), lambda: make("two")) == b"one"
    assert answers.get(("a", 2), lambda: make("two")) == b"two"
    assert made == ["one", "two"]


def test_those_that_were_asked_for_last_are_kept() -> None:
    answers = Answers(max_bytes=8)
    for name in "abab":
        answers.get((name,), lambda: b"1234")
    answers.get(("a",), lambda: b"none")
    answers.get(("c",), lambda: b"1234")  # no room for b
    assert answers.get(("a",), lambda: b"made") == b"1234"
    assert answers.get(("b",), lambda: b"made") == b"made"
    assert answers.get(("large",), lambda: b"123456789") == b"123456789"
    assert answers.get(("a",), lambda: b"anew") == b"anew"


def test_nobody_waits_for_what_others_make() -> None:
    answers, begun, go_on = Answers(), threading.Event(), threading.Event()
    answers.get(("kept",), lambda: b"kept")

    def make() -> bytes:
        begun.set()
        assert go_on.wait(30)
        return b"slow"

    slow = threading.Thread(target=answers.get, args=(("slow",), make))
    slow.start()
    assert begun.wait(30)
    assert answers.get(("kept",), make) == b"kept"
    go_on.set()
    slow.join()


def test_what_cannot_be_made_is_tried_again() -> None:
    answers = Answers()
    with pytest.raises(ValueError):
        answers.get(("a",), lambda: bytes(-1))
    assert answers.get(("a",), lambda: b"made") == b"made"

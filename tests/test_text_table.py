"""Tables in a terminal: names stay whole, and nothing is cut off."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hpsearch.text_table import WHOLE, text_table

NAMES = ("optimizer.choices.adamw.lr", "optimizer.sgd.lr")
WORDS = "batch size 256, weight decay 0.0001, and_one_word_that_is_longer_than_its_column_is_wide"


def printed(name: str, width: int) -> list[str]:
    rows = [(name, WORDS, "[0.1]", 7)]
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as captured:
        console.print(text_table(("optimizer", "test", "[ends]", "trial"), rows))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", NAMES)
def test_names_stay_whole_and_nothing_is_cut(name: str, width: int) -> None:
    lines = printed(name, width)
    assert name in lines[1].split() and "…" not in "".join(lines)
    assert "[ends]" in lines[0] and "[0.1]" in lines[1]  # texts, no markup
    begin, end = lines[0].index("test"), lines[0].index("[ends]")
    found = "".join(line[begin:end] for line in lines[1:])
    assert found.replace(" ", "") == WORDS.replace(" ", "")


def test_a_name_that_would_take_all_the_room_is_folded() -> None:
    name = "x" * (WHOLE + 30)
    lines = printed(name, 80)
    assert sum(line.count("x") for line in lines) == len(name)
    assert max(map(len, lines)) <= 80

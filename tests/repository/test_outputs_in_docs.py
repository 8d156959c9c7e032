"""The outputs that pages show of one search agree: its best trial, and that trial's objective."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.support.pages import Page, pages

#: a command, and what it prints
_COMMAND = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
#: where an output says which trial is the best, or its objective
_SHOWN = [
    r"trials, 0 running, .* best \w+ (?P<objective>[\d.]+)\s+\(trial (?P<trial>\d+)\)",
    r"^ trial .*\n (?P<trial>\d+) +(?P<objective>[\d.]+) ",  # the leaderboard's first row
    r"^best +trial (?P<trial>\d+)",
    r"^validation .*\bval_accuracy (?P<objective>[\d.]+)",
    r"^ (?P<search>\S+) .*\bfinished +\d+/\d+ +(?P<objective>[\d.]+) ",  # of `list`
    r"^(?P<search>\S+)-trial-(?P<trial>\d+)\.pt",  # of `download`
    r"^trial (?P<trial>\d+): \d+ epochs, \w+ (?P<objective>[\d.]+)",  # of a reproduced trial
]


class Claim(NamedTuple):
    """A value that a page shows of a search."""

    search: str
    what: str
    value: str
    page: str


def claims(page: Page) -> Iterator[Claim]:
    for block in page.blocks(""):
        for command, output in _COMMAND.findall(block):
            for pattern in _SHOWN:
                for match in re.finditer(pattern, output, re.MULTILINE):
                    found = match.groupdict()
                    search = found.pop("search", None) or searched(command, page)
                    yield from (Claim(search, *each, page.name) for each in found.items())


def searched(command: str, page: Page) -> str:
    """Return the name of the search that a command is about."""
    if given := re.search(r"(?:--name |--set name=)(\S+)", command):
        return given[1]
    if named := re.match(r"hpsearch \w+ (\S+)", command):
        return named[1].removesuffix(".yaml")
    [opened] = re.findall(r"\.search\(\"(\w+)\"\)", page.text)  # a program of the page
    return str(opened)


CLAIMS = [claim for page in pages() for claim in claims(page)]


@pytest.mark.parametrize("search", sorted({claim.search for claim in CLAIMS}))
def test_a_search_has_one_best_trial_on_all_pages(search: str) -> None:
    for what in ("trial", "objective"):
        shown = [claim for claim in CLAIMS if (claim.search, claim.what) == (search, what)]
        assert len({claim.value for claim in shown}) <= 1, shown


@pytest.mark.parametrize(("search", "number"), [("ring", 4), ("digits", 3)])
def test_outputs_of_several_pages_are_compared(search: str, number: int) -> None:
    assert len({claim.page for claim in CLAIMS if claim.search == search}) >= number

"""What a search's page shows of its record, remade after changes, but not too often."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from markupsafe import Markup

from hpsearch.analysis import content
from hpsearch.analysis.blocks import Section
from hpsearch.analysis.figures import figure_names
from hpsearch.analysis.importance import importances
from hpsearch.analysis.narrowing import next_section
from hpsearch.analysis.page import introduction_html, section_html, tiles_html
from hpsearch.analysis.response import Response
from hpsearch.record import Record
from hpsearch.service.cache.cache import Cache
from hpsearch.service.cache.figures import FigureProcess
from hpsearch.service.cache.records import Records
from hpsearch.service.pages.curves_svg import curves_svg
from hpsearch.service.pages.views import ShownTrial, shown_trials

#: searches whose contents are held in memory, each of a megabyte or less
MAX_CONTENTS = 32
#: seconds for which the content of a running search stays at least, and how many times longer
#: than it took to make
PAUSE_S = 3.0
REST = 10.0


@dataclass(frozen=True)
class Content:
    """What a record holds, as parts of a page: HTML with all texts escaped."""

    version: str
    record: Record
    process: FigureProcess
    #: what was searched, the main numbers, the learning curves as a still picture
    introduction: Markup
    tiles: Markup
    curves: Markup
    #: what was found, with places for the figures
    sections: tuple[Markup, ...]
    #: with which versions the search was made
    facts: tuple[Markup, ...]
    #: seconds of processor time that all of it took, but for the figures
    cost_s: float
    made_at: float = field(default_factory=time.monotonic)

    @cached_property
    def trials(self) -> list[ShownTrial]:
        """The trials that users may act on, and what their curves say."""
        return shown_trials(self.record)

    @property
    def seconds_left(self) -> float:
        """How long newer content must wait."""
        pause = max(PAUSE_S, REST * self.cost_s)
        return max(0.0, self.made_at + pause - time.monotonic())

    def is_outdated(self, version: str, state: str) -> bool:
        """Whether it must be remade for another version of the record."""
        return version != self.version and (state != "running" or not self.seconds_left)

    @cached_property
    def figures(self) -> bytes:
        """The figures as JSON, compressed."""
        return self.process.draw(self.record.name)


def _make(record: Record, version: str, process: FigureProcess) -> Content:
    """Return the content of a record, without its figures, which take longer."""
    began = time.thread_time()
    importance = importances(record)
    places = dict.fromkeys(figure_names(record, importance))
    return Content(
        version,
        record,
        process,
        Markup(introduction_html(record)),
        Markup(tiles_html(record)),
        curves_svg(record),
        _sections(
            [*content.findings(record, importance, Response(record)), *next_section(record)],
            places,
        ),
        _sections(content.facts(record), {}),
        cost_s=time.thread_time() - began,
    )


def _sections(found: Iterable[Section], places: dict[str, None]) -> tuple[Markup, ...]:
    return tuple(Markup(section_html(section, places)) for section in found)


class Contents:
    """Makes contents and keeps the newest; may be used from many threads."""

    def __init__(self, records: Records, figures: FigureProcess) -> None:
        self._records = records
        self._figures = figures
        self._kept: Cache[str, Content] = Cache(MAX_CONTENTS)

    def of(self, name: str) -> tuple[Content, float]:
        """Return the content of a search that has a record; raises as Records.read does.

        And the seconds after which there will be newer, if there will.
        """
        newest = ""

        def newer(kept: Content | None) -> Content:
            nonlocal newest
            record, newest = self._records.read(name)
            if kept is not None and not kept.is_outdated(newest, record.state):
                return kept
            return _make(record, newest, self._figures)

        content = self._kept.update(name, newer)
        return content, 0.0 if content.version == newest else max(content.seconds_left, 0.1)

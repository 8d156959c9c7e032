"""What a search's page shows of its record, made again when that changed, but not at once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from markupsafe import Markup

from hpsearch.analysis import content
from hpsearch.analysis.content import Section
from hpsearch.analysis.figures import figure_names
from hpsearch.analysis.importance import importances
from hpsearch.analysis.page import introduction_html, section_html, tiles_html
from hpsearch.record import Record
from hpsearch.service.cache.figures import Drawer
from hpsearch.service.cache.records import Records
from hpsearch.service.pages.curves_svg import curves_svg

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
    drawer: Drawer
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

    @property
    def seconds_left(self) -> float:
        """How long newer content must wait."""
        pause = max(PAUSE_S, REST * self.cost_s)
        return max(0.0, self.made_at + pause - time.monotonic())

    @cached_property
    def figures(self) -> bytes:
        """The figures as JSON, compressed."""
        return self.drawer.draw(self.record.name)


def _make(record: Record, version: str, drawer: Drawer) -> Content:
    """Return the content of a record, without its figures, which take longer."""
    began = time.thread_time()
    importance = importances(record)
    places = dict.fromkeys(figure_names(record, importance))
    return Content(
        version,
        record,
        drawer,
        Markup(introduction_html(record)),
        Markup(tiles_html(record)),
        curves_svg(record),
        _sections(content.findings(record, importance), places),
        _sections(content.facts(record), {}),
        cost_s=time.thread_time() - began,
    )


def _sections(found: Iterable[Section], places: dict[str, None]) -> tuple[Markup, ...]:
    return tuple(Markup(section_html(section, places)) for section in found)


class Contents:
    """Makes contents and keeps the newest; may be used from many threads."""

    def __init__(self, records: Records, drawer: Drawer) -> None:
        self._records = records
        self._drawer = drawer
        self._kept: OrderedDict[str, Content] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def of(self, name: str) -> tuple[Content, float]:
        """Return the content of a search that has a record; raises as Records.read does.

        And the seconds after which there will be newer, if there will.
        """
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:  # one makes it, the others wait for that
            record, version = self._records.read(name)
            kept = self._kept.get(name)
            has_ended = record.state != "running"
            left = 0.0 if kept is None or has_ended else kept.seconds_left
            if kept is None or (kept.version != version and not left):
                kept = _make(record, version, self._drawer)
            self._keep(name, kept)
            return kept, left if kept.version != version else 0.0

    def _keep(self, name: str, made: Content) -> None:
        with self._lock:
            self._kept[name] = made
            self._kept.move_to_end(name)
            while len(self._kept) > MAX_CONTENTS:
                forgotten, _ = self._kept.popitem(last=False)
                self._making.pop(forgotten, None)

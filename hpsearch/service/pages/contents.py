"""What a search's page shows of its record, made again when that changed, but not at once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from hpsearch.analysis import content
from hpsearch.analysis.figures import figure_names
from hpsearch.analysis.importance import Importances, importances
from hpsearch.analysis.page import introduction_html, section_html, tiles_html
from hpsearch.record import Record
from hpsearch.service.drawer import Drawer
from hpsearch.service.pages.drawing import curves_svg
from hpsearch.service.records import Records

#: searches whose contents are held in memory, each of a megabyte or less
MAX_CONTENTS = 32
#: seconds for which the content of a running search stays: ten times what it takes to make
PAUSE_S = 3.0
PAUSE_PER_TRIAL_S = 0.01


@dataclass(frozen=True)
class Content:
    """What a record holds, as parts of a page: HTML with all texts escaped."""

    version: str
    record: Record
    importances: Importances
    made_at: float
    drawer: Drawer

    @property
    def seconds_left(self) -> float:
        """How long newer content must wait."""
        pause = PAUSE_S + PAUSE_PER_TRIAL_S * len(self.record.trials)
        return max(0.0, self.made_at + pause - time.monotonic())

    def make(self) -> None:
        """Make all parts but the figures, which takes a while the first time."""
        for part in ("introduction", "tiles", "sections", "curves", "facts"):
            getattr(self, part)

    @cached_property
    def introduction(self) -> Markup:
        """What was searched."""
        return Markup(introduction_html(self.record))

    @cached_property
    def tiles(self) -> Markup:
        """The main numbers."""
        return Markup(tiles_html(self.record))

    @cached_property
    def sections(self) -> tuple[Markup, ...]:
        """What was found, with places for the figures."""
        places = dict.fromkeys(figure_names(self.record, self.importances))
        found = content.findings(self.record, self.importances)
        return tuple(Markup(section_html(section, places)) for section in found)

    @cached_property
    def curves(self) -> Markup:
        """The learning curves as a still picture."""
        return curves_svg(self.record)

    @cached_property
    def facts(self) -> tuple[Markup, ...]:
        """With which versions the search was made."""
        return tuple(Markup(section_html(each, {})) for each in content.facts(self.record))

    @cached_property
    def figures(self) -> bytes:
        """The figures as JSON, compressed."""
        return self.drawer.draw(self.record.name)


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
                now = time.monotonic()
                kept = Content(version, record, importances(record), now, self._drawer)
            self._keep(name, kept)
            return kept, left if kept.version != version else 0.0

    def _keep(self, name: str, made: Content) -> None:
        with self._lock:
            self._kept[name] = made
            self._kept.move_to_end(name)
            while len(self._kept) > MAX_CONTENTS:
                forgotten, _ = self._kept.popitem(last=False)
                self._making.pop(forgotten, None)

"""What a search's page shows of its record, made once for each version of the record."""

from __future__ import annotations

import gzip
import threading
from collections import OrderedDict
from dataclasses import dataclass

from markupsafe import Markup

from hpsearch.analysis import content
from hpsearch.analysis.figures import all_figures
from hpsearch.analysis.importance import importances
from hpsearch.analysis.page import figures_json, introduction_html, section_html, tiles_html
from hpsearch.record import Record
from hpsearch.service.records import Records

#: searches whose contents are held in memory, each of a megabyte or less
MAX_CONTENTS = 32


@dataclass(frozen=True)
class Content:
    """Parts of a page, as HTML with all texts escaped; the figures as JSON, compressed."""

    version: str
    introduction: Markup
    tiles: Markup
    sections: tuple[Markup, ...]
    facts: tuple[Markup, ...]
    figures: bytes


class Contents:
    """Makes contents and keeps the newest; may be used from many threads."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._kept: OrderedDict[str, Content] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def of(self, name: str) -> Content:
        """Return the content of a search that has a record; raises as Records.read does."""
        with self._lock:
            making = self._making.setdefault(name, threading.Lock())
        with making:  # one makes it, the others wait for that
            record, version = self._records.read(name)
            kept = self._kept.get(name)
            if kept is None or kept.version != version:
                kept = _make(record, version)
            self._keep(name, kept)
            return kept

    def _keep(self, name: str, made: Content) -> None:
        with self._lock:
            self._kept[name] = made
            self._kept.move_to_end(name)
            while len(self._kept) > MAX_CONTENTS:
                forgotten, _ = self._kept.popitem(last=False)
                self._making.pop(forgotten, None)


def _make(record: Record, version: str) -> Content:
    measured = importances(record)
    figures = all_figures(record, measured)
    found = content.findings(record, measured)
    return Content(
        version=version,
        introduction=Markup(introduction_html(record)),
        tiles=Markup(tiles_html(record)),
        sections=tuple(Markup(section_html(section, figures)) for section in found),
        facts=tuple(Markup(section_html(section, {})) for section in content.facts(record)),
        figures=gzip.compress(figures_json(figures).encode(), 1),
    )

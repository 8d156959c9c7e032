"""The built site as data: the headings, links and resources of its pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
#: what a browser loads by itself, by tag
_LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
#: links that only lead somewhere
_LINKS = ("canonical", "next", "prev", "alternate")
_IN_CSS = re.compile(r"""(?:url\(|@import\s*)["']?([^"')]+)""")


@dataclass
class SitePage:
    """A page: its headings as texts, anchors, links, and what a browser loads with it."""

    headings: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = SitePage()
        self._in_heading = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.page.anchors |= {found[name] for name in ("id", "name") if name in found}
        self._in_heading |= tag in _HEADINGS
        if tag in _HEADINGS:
            self.page.headings.append("")
        if tag == "a" and "href" in found:
            self.page.links.append(found["href"])
        if tag == "link" and found.get("rel") not in _LINKS:
            self.page.loaded.append(found["href"])
        if found.get(_LOADED.get(tag, "")):
            self.page.loaded.append(found[_LOADED[tag]])
        self.page.loaded += _IN_CSS.findall(found.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._in_heading = False
            self.page.headings[-1] = " ".join(self.page.headings[-1].split())

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.page.headings[-1] += data.replace("¶", "")


def read_site(folder: Path) -> dict[str, SitePage]:
    """Read every page of a site, by its path in it."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        reader = _Reader()
        reader.feed(path.read_text())
        pages[path.relative_to(folder).as_posix()] = reader.page
    return pages


def is_elsewhere(address: str) -> bool:
    """Whether an address leads out of the site."""
    return address.startswith(("http:", "https:", "//"))


def style_addresses(folder: Path) -> set[str]:
    """Return what the site's style sheets load."""
    return {
        address
        for path in folder.rglob("*.css")
        for address in _IN_CSS.findall(path.read_text())
        if not address.startswith("data:")
    }


def broken_links(folder: Path, pages: Mapping[str, SitePage]) -> list[str]:
    """Return the links between pages that lead to no file, or to no place of a page."""
    broken = []
    for path, page in pages.items():
        if path == "404.html":  # served for any address, so that its links begin at the root
            continue
        for link in page.links:
            address, anchor = urldefrag(unquote(link))
            if is_elsewhere(link) or link.startswith(("mailto:", "data:")):
                continue
            target = (folder / path).parent / address if address else folder / path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (anchor and not _has(folder, pages, target, anchor)):
                broken.append(f"{path}: {link}")
    return broken


def _has(folder: Path, pages: Mapping[str, SitePage], target: Path, anchor: str) -> bool:
    found = pages.get(target.resolve().relative_to(folder.resolve()).as_posix())
    return found is None or anchor in found.anchors

"""Pages of the repository outside docs/, and links between them and the site.

In the repository links lead from file to file, so that they work where it is read; on the site
they lead to the pages that show these files.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from docs.site.markdown import Page

ROOT = Path(__file__).parents[2]
#: files of the repository that are pages of the site
COPIED = {"CONTRIBUTING.md": "contributing.md", "deploy/README.md": "deploy.md"}
#: where links to files of the repository lead
PAGES = {
    **COPIED,
    "README.md": "index.md",
    "docs/components.md": "reference/components/index.md",
    "search_spaces": "gallery.md",
}
_FENCE = re.compile(r"(^```.*?^```[^\n]*$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_IMAGE = re.compile(r'(<img[^>]*\ssrc=")(?!\w+:)([^"]+)(")')
#: MkDocs counts the warnings of its own loggers
_log = logging.getLogger("mkdocs.hooks.repository")


def pages() -> Iterator[Page]:
    """Yield these pages."""
    for file, page in COPIED.items():
        yield Page(page, relink((ROOT / file).read_text(), posixpath.dirname(file), page))


def relink(text: str, folder: str, page: str) -> str:
    """Turn links between files into links between pages.

    `folder` is where the text lies in the repository, `page` what it is on the site.
    """

    def link(match: re.Match[str]) -> str:
        image, label, target, anchor = match.groups()
        found = _on_site(target, folder, page)
        return label if found is None else f"{image}[{label}]({found}{anchor or ''})"

    def picture(match: re.Match[str]) -> str:
        return f"{match[1]}{_on_site(match[2], folder, page) or match[2]}{match[3]}"

    parts = _FENCE.split(text)
    parts[::2] = [_IMAGE.sub(picture, _LINK.sub(link, part)) for part in parts[::2]]
    return "".join(parts)


def _on_site(target: str, folder: str, page: str) -> str | None:
    """Return where a link leads on the site, relative to its page; None if it has no such page."""
    file = posixpath.normpath(posixpath.join(folder, target))
    found = _page_of(file)
    if found is None and not (ROOT / file).exists():
        _log.warning("%s: the link %r leads to %s, which is not there", page, target, file)
    return None if found is None else posixpath.relpath(found, posixpath.dirname(page) or ".")


def _page_of(file: str) -> str | None:
    if file in PAGES:
        return PAGES[file]
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    name, extension = posixpath.splitext(file)
    if posixpath.dirname(file) == "search_spaces" and extension == ".yaml":
        return f"gallery/{posixpath.basename(name)}.md"
    return None

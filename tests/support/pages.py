"""What the pages of the documentation show: links, files, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: pages that the documentation's build generates
GENERATED = {
    "reference/spec.md",
    "reference/components/augmentation.md",
    "reference/components/index.md",
    "reference/api.md",
    "reference/http.md",
    "gallery.md",
}
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w.-]+)`[^\n]*:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:)([^)\s]*)\)")


@dataclass(frozen=True)
class Page:
    """A page of Markdown."""

    path: Path

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """What it says."""
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """What it says beside blocks of code."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead that aren't URLs."""
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What a link can name of it: its headings, as GitHub and MkDocs write them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {_slug(heading) for heading in headings}

    @property
    def files(self) -> dict[str, str]:
        """The files that its reader writes: "`net.py`:" with a block below."""
        return dict(_FILE.findall(self.text))

    def blocks(self, *languages: str) -> list[str]:
        """Return the blocks of code in these languages; "" is none."""
        return [code for language, code in _FENCE.findall(self.text) if language in languages]

    def commands(self) -> Iterator[list[str]]:
        """Yield the words of each command of hpsearch, without what follows it in its line."""
        lines = [line for block in self.blocks("") for line in _typed(block)]
        for line in (*lines, *re.findall(r"`(hpsearch[^`]*)`", self.prose)):
            words = re.split(r" [|#>] | {2,}", line.strip().removeprefix("$ "))[0].split()
            if words[:1] == ["hpsearch"] and len(words) > 1:
                yield [word.strip("[]") for word in words[1:]]


def pages() -> list[Page]:
    """Return all pages but the generated one, which is tested with what generates it."""
    found = [path for path in sorted(DOCS.rglob("*.md")) if path.name != "components.md"]
    others = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md")
    return [Page(path) for path in (*others, *found)]


def _typed(block: str) -> list[str]:
    """What a user types of a block: the lines after a prompt, or all if there is none."""
    lines = block.replace("\\\n", " ").splitlines()
    prompted = [line for line in lines if line.startswith("$ ")]
    return prompted or lines


def _slug(heading: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", heading.lower())
    return re.sub(r"\s+", "-", plain.strip())

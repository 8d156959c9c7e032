"""A report as Markdown."""

from __future__ import annotations

import re

from hpsearch.analysis.blocks import Code, Section, Table


def to_markdown(title: str, introduction: str, sections: list[Section]) -> str:
    """Return a report as one Markdown document."""
    parts = [f"# {title}", introduction]
    for section in sections:
        parts += [f"## {section.title}", *(_block(block) for block in section.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: str | Table | Code) -> str:
    if isinstance(block, Table):
        rows = [block.header, ("---",) * len(block.header), *block.rows]
        return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)
    if isinstance(block, Code):
        longest = max(map(len, re.findall(r"`{3,}", block.text)), default=2)
        fence = "`" * (longest + 1)  # longer than any that the text has
        return f"{fence}\n{block.text.rstrip()}\n{fence}"
    return block


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")

"""A report as one HTML page: everything inline, readable offline, on a phone, light and dark."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.io.json import to_json_plotly

from hpsearch.analysis import content
from hpsearch.analysis.blocks import Code, Section, Table
from hpsearch.analysis.page_assets import SCRIPT, START, STYLE, packed_plotly
from hpsearch.analysis.progress import Progress, needs_of_a_trial, summary
from hpsearch.analysis.style import THEMES
from hpsearch.formatting import show, show_seconds
from hpsearch.record import Record


def to_html(record: Record, sections: list[Section], figures: dict[str, go.Figure]) -> str:
    """Return a report as a page with pictures that opens without a network."""
    state = f'<span class="state {record.state}">{record.state}</span>'
    heading = f"{html.escape(record.name)} {state}"
    first = f"{introduction_html(record)}\n</header>\n{tiles_html(record)}"
    return document(record.name, heading, first, sections, figures)


def plain_document(
    title: str, introduction: str, sections: list[Section], figures: dict[str, go.Figure]
) -> str:
    """Return a page of sections under a title, as that of a report."""
    first = f"<p>{_inline(introduction)}</p>\n</header>"
    return document(title, html.escape(title), first, sections, figures)


def document(
    title: str, heading: str, first: str, sections: list[Section], figures: dict[str, go.Figure]
) -> str:
    """Return a page; `heading` and `first`, which ends its header, are HTML."""
    heights = {name: figure.layout.height for name, figure in figures.items()}
    body = "\n".join(section_html(section, heights) for section in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{html.escape(title)} · hpsearch</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{heading}</h1>
{first}
<noscript><p>The figures need JavaScript; the tables do not.</p></noscript>
{body}
</main>
<script id="plotly" type="application/gzip">{packed_plotly()}</script>
<script id="figures" type="application/json">{figures_json(figures)}</script>
<script>{SCRIPT}{START}</script>
</body>
</html>
"""


def introduction_html(record: Record) -> str:
    """Return what was searched, in a few sentences."""
    return f"<p>{_inline(content.introduction(record))}</p>"


def tiles_html(record: Record) -> str:
    """Return the main numbers of a search."""
    progress, metric = summary(record), record.spec.objective.metric
    needs = needs_of_a_trial(record.spec.resources)
    tiles = [("trials", f"{len(record.trials)}", _trial_counts(progress, needs))]
    if progress.best is not None and progress.best_value is not None:
        best = (f"best {metric}", show(progress.best_value), f"trial {progress.best.number}")
        tiles.insert(0, best)
    if (score := content.test_score(record)) is not None:
        tiles.insert(1, (score[0], show(score[1]), "of the best trial's model"))
    epochs_saved = f"{progress.epochs_saved} saved by early stopping"
    seconds_saved = f"{show_seconds(progress.seconds_saved)} of training saved"
    if not progress.epochs_saved:
        epochs_saved = seconds_saved = ""
    tiles.append(("epochs trained", str(progress.epochs_used), epochs_saved))
    tiles.append(("time", show_seconds(progress.seconds_used), seconds_saved))
    shown = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        f"<dd class='note'>{html.escape(note)}</dd></div>"
        for name, value, note in tiles
    )
    return f'<dl class="tiles">{shown}</dl>'


def section_html(section: Section, heights: Mapping[str, int | None]) -> str:
    """Return a section with places for its figures, which a script fills.

    `heights`, in pixels, has all figures that there may be; None where that is not known yet.
    """
    shown = [name for name in heights if name.partition(":")[0] in section.figures]
    blocks = [_block(block, folded=bool(shown)) for block in section.blocks]
    return "\n".join(
        [
            f"<section><h2>{html.escape(section.title)}</h2>",
            *blocks,
            *_figure_places({name: heights[name] for name in shown}),
            "</section>",
        ]
    )


def figures_json(figures: dict[str, go.Figure]) -> str:
    """Return the figures as JSON that is safe within a script.

    What is shown when a trial is pointed at is the same in all of them, and kept once.
    """
    hover: dict[int, str] = {}
    plain = {name: figure.to_plotly_json() for name, figure in figures.items()}
    for figure in plain.values():
        del figure["layout"]["template"]
        for trace in figure["data"]:
            _keep_hover_once(trace, hover)
    themes = {name: theme.to_plotly_json() for name, theme in THEMES.items()}
    text: str = to_json_plotly({"figures": plain, "themes": themes, "hover": hover}, engine="json")
    return text


def _trial_counts(progress: Progress, needs: str) -> str:
    counts = {
        "completed": progress.completed,
        "stopped early": progress.stopped_early,
        "failed": progress.failed,
        "cancelled": progress.cancelled,
        "running": progress.running,
        f"waiting for {needs}": progress.waiting,
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _figure_places(heights: Mapping[str, int | None]) -> list[str]:
    """Return the places of figures: large ones below each other, slices side by side."""
    places = {
        name: f'<div class="figure" data-figure="{html.escape(name)}"{_style(height)}></div>'
        for name, height in heights.items()
    }
    if "parallel" in places:  # many axes: wider than a phone
        places["parallel"] = f'<div class="scroll">{places["parallel"]}</div>'
    slices = [place for name, place in places.items() if name.startswith("slice:")]
    large = [place for name, place in places.items() if not name.startswith("slice:")]
    if not slices:
        return large
    told = (
        "The newest objective of each trial, by hyperparameter; the star is the best, a line with "
        "a band what a model expects in full."
    )
    caption = f'<p class="caption">{told}</p>'
    return [*large, caption, '<div class="slices">', *slices, "</div>"]


def _style(height: int | None) -> str:
    return "" if height is None else f' style="height: {height}px"'


def _block(block: str | Table | Code, folded: bool) -> str:
    if isinstance(block, Table):
        table = _table(block)
        return f"<details><summary>As a table</summary>{table}</details>" if folded else table
    if isinstance(block, Code):
        return f"<pre>{html.escape(block.text)}</pre>"
    return f"<p>{_inline(block)}</p>"


def _table(table: Table) -> str:
    header = "".join(f"<th>{_inline(cell)}</th>" for cell in table.header)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    return (
        f'<div class="scroll"><table><thead><tr>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    return f"<td{' class=short' if len(text) < 24 else ''}>{_inline(text)}</td>"


def _inline(text: str) -> str:
    """Escape a text and turn its `backticks` into code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _keep_hover_once(trace: dict[str, Any], hover: dict[int, str]) -> None:
    numbers = trace.get("customdata")
    if numbers is not None:
        hover |= dict(zip(numbers, trace.pop("text"), strict=True))

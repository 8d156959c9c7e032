"""The style sheet and the scripts of a report's page, from `assets/`."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "assets"
STYLE = (_FOLDER / "report.css").read_text()
#: fills the places of figures; `draw` may be called again with newer ones
SCRIPT = (_FOLDER / "report.js").read_text()
#: draws the figures that the page itself holds
START = (_FOLDER / "report_start.js").read_text()

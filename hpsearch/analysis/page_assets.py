"""The style sheet and the scripts of a report's page, from `assets/`."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from pathlib import Path

from plotly.offline import get_plotlyjs

_FOLDER = Path(__file__).parent / "assets"
STYLE = (_FOLDER / "report.css").read_text()
#: fills the places of figures; `draw` may be called again with newer ones
SCRIPT = (_FOLDER / "report.js").read_text()
#: draws the figures that the page itself holds
START = (_FOLDER / "report_start.js").read_text()


@cache
def packed_plotly() -> str:
    """Return Plotly's script as gzip in Base64, which `START` unpacks: 2 MB in place of 5."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()

"""Archives of users' code."""

from __future__ import annotations

import io
import zipfile


def archive(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as opened:
        for entry, data in entries:
            opened.writestr(entry, data)
    return content.getvalue()

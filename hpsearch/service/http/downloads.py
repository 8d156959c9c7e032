"""Files that are sent: one as it is, several as a ZIP archive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hpsearch.service.zipping import zipped

_CHUNK = 1 << 16


class FileDownload(StreamingResponse):
    """An open file under a name, which is closed however its download ends."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(os.fstat(file.fileno()).st_size),
        }
        super().__init__(_content(file), headers=headers, media_type="application/octet-stream")
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def archive(name: str, files: Iterable[tuple[str, BinaryIO]]) -> StreamingResponse:
    """Return named open files as the archive `name`.zip, which is made while it is sent."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    return StreamingResponse(zipped(files), headers=headers, media_type="application/zip")


def _content(file: BinaryIO) -> Iterator[bytes]:
    left = os.fstat(file.fileno()).st_size  # it may grow, but its length was told
    while left and (chunk := file.read(min(_CHUNK, left))):
        left -= len(chunk)
        yield chunk

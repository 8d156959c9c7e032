"""The bytes of a file as text: whether they are one, and of which encoding."""

from __future__ import annotations

import codecs
from pathlib import Path

from hpsearch.errors import DataError

#: encodings to propose, the likeliest first; latin-1 reads anything
_ENCODINGS = ("utf-8", "cp1252", "latin-1")
_BYTE_ORDER_MARKS = {  # that of utf-32 begins with that of utf-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
#: how files begin that hold no text
_NO_TEXT = {
    b"PK\3\4": "a zip archive or a workbook: export a sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook: export a sheet as CSV",
    b"\x1f\x8b": "compressed by gzip: let its name end in .gz",
    b"PAR1": "a Parquet file: take the data set parquet",
}
_COMPRESSED = {".gz", ".bz2", ".zip", ".xz", ".zst", ".tar"}
#: bytes that show what a file holds
_HEAD = 64 * 1024


def check_is_text(file: Path, encoding: str) -> None:
    """Raise DataError for a file that is empty, no text, or visibly of another encoding."""
    if file.suffix in _COMPRESSED:  # pandas reads what is in it
        return
    with file.open("rb") as stream:
        content = stream.read(_HEAD)
    if not content.strip():
        raise DataError(f"must be a table with rows, but {file} is empty", keyword="path")
    if kind := next((kind for mark, kind in _NO_TEXT.items() if content.startswith(mark)), None):
        raise DataError(f"must be a table as text, but {file} is {kind}", keyword="path")
    if content.startswith(codecs.BOM_UTF8) and not encoding.lower().startswith(("utf", "u8")):
        rule = f"must be the encoding of {file}, which begins with the mark of utf-8"
        raise DataError(rule, encoding, keyword="encoding")
    if b"\0" in content and "16" not in encoding and "32" not in encoding:
        guess = _wide_encoding(content)
        found = f"it has null bytes; try `encoding: {guess}`" if guess else "it has null bytes"
        rule = f"must be the encoding of {file}, but {encoding} can't read it: {found}"
        raise DataError(rule, keyword="encoding")


def _wide_encoding(content: bytes) -> str:
    """Return the encoding of a text with several bytes a character; empty if unknown."""
    for mark, name in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return name
    high, low = (2 * content[place::2].count(0) > len(content) / 2 for place in (0, 1))
    return "utf-16-be" if high and not low else "utf-16-le" if low and not high else ""


def encoding_rule(file: Path, encoding: str, error: UnicodeError) -> str:
    """Say which byte can't be read, and which encoding reads it, with the words around it."""
    content = file.read_bytes()
    rule = f"must be the encoding of {file}, but {encoding} can't read it"
    position = _first_wrong(content, encoding)
    for other in _ENCODINGS:
        if other != encoding and _first_wrong(content, other) is None:
            around = content[max((position or 0) - 20, 0) : (position or 0) + 20]
            words = " ".join(around.decode(other, "replace").split())
            return f"{rule} at byte {position}; {other} reads {words!r} there: `encoding: {other}`"
    return f"{rule}: {error}"


def _first_wrong(content: bytes, encoding: str) -> int | None:
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        return error.start
    return None


def known_encodings() -> set[str]:
    """Return the names of the encodings of texts."""
    from encodings.aliases import aliases

    names = {name.replace("_", "-") for name in (*aliases, *aliases.values())}
    return {name for name in names if _is_of_text(name)}


def _is_of_text(encoding: str) -> bool:
    """Whether it is one of texts; `hex` and others turn bytes into bytes."""
    try:
        b"0".decode(encoding)
    except LookupError:
        return False
    except ValueError:  # one of texts, of which this is none
        return True
    return True

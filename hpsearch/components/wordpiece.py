"""Texts as the word pieces of a BERT vocabulary."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PAD, UNKNOWN, START, END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
#: a longer word is unknown
MAX_CHARACTERS = 100


class WordPiece:
    """Splits lower-cased words into the longest pieces of a vocabulary (Wu et al., 2016).

    As BERT's uncased tokenizer does: accents go, punctuation and Chinese characters stand alone.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {piece: number for number, piece in enumerate(vocabulary)}

    @classmethod
    def from_file(cls, path: Path) -> WordPiece:
        """Read a vocabulary of one piece a line."""
        return cls(path.read_text(encoding="utf-8").split("\n"))

    def encode(self, texts: Iterable[str], length: int) -> NDArray[np.int64]:
        """Return ids (rows, length), cut off or padded by 0, between a start and an end."""
        rows = [self._row(text, length - 2) for text in texts]
        encoded = np.full((len(rows), length), self._ids[PAD])
        for row, ids in zip(encoded, rows, strict=True):
            row[: len(ids)] = ids
        return encoded

    def _row(self, text: str, length: int) -> list[int]:
        pieces = [piece for word in words(text) for piece in self._pieces(word)]
        return [self._ids[START], *pieces[:length], self._ids[END]]

    def _pieces(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1) if len(word) <= MAX_CHARACTERS else ()
            end = next((end for end in ends if prefix + word[start:end] in self._ids), None)
            if end is None:
                return [self._ids[UNKNOWN]]
            found.append(self._ids[prefix + word[start:end]])
            start = end
        return found


def words(text: str) -> list[str]:
    """Return the words of a text, lower-cased, without accents, apart from its punctuation.

    >>> words("Déjà-vu!")
    ['deja', '-', 'vu', '!']
    """
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(part for character in decomposed for part in _separated(character)).split()


def _separated(character: str) -> Iterator[str]:
    kind = _kind(character)
    if kind == "alone":
        yield f" {character} "
    elif kind == "space":
        yield " "
    elif kind == "part":
        yield character


@lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """Return what a character is: a space, part of a word, a word of its own, or nothing."""
    category = unicodedata.category(character)
    if character in " \t\n\r" or category == "Zs":
        return "space"
    if category in ("Mn", "Cc", "Cf") or character == "\ufffd":
        return "nothing"
    is_symbol = character.isascii() and not character.isalnum()
    if is_symbol or category.startswith("P") or _is_chinese(ord(character)):
        return "alone"
    return "part"


def _is_chinese(code: int) -> bool:
    return any(first <= code <= last for first, last in _CHINESE)


#: the blocks of CJK Unified Ideographs, and of those for compatibility
_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)

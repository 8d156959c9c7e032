"""Data sets of texts as sequences of tokens, for language models."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from hpsearch.components.datasets.files import resolve
from hpsearch.components.datasets.windows import NextTokens
from hpsearch.errors import DataError
from hpsearch.registry import register

Length = Annotated[int, Interval(ge=2, le=4096)]
#: a word, a space or a mark: one after another they are the text
_WORDS = re.compile(r"\w+|\s|[^\w\s]")
LETTERS = "abcdefghijklmnopqrstuvwxyz "


@register("dataset", "text")
def text(
    folder: Path,
    path: str,
    tokens: Literal["characters", "words"] = "characters",
    length: Length = 64,
    encoding: str = "utf-8",
) -> Mapping[str, Any]:
    """A text file of yours for a language model, as rows of `length` tokens each.

    Tokens are characters or words; spaces and marks are words of their own. The last part of the
    text is for testing, the part before it for validation.
    """
    file = resolve(folder, path)
    try:
        content = file.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"can't be read: {error}", str(file), keyword="path") from error
    return _tokens(list(content) if tokens == "characters" else _WORDS.findall(content), length)


@register("dataset", "markov_text")
def markov_text(
    seed: int,
    characters: Annotated[int, Ge(100)] = 100_000,
    letters: Annotated[int, Interval(ge=2, le=len(LETTERS))] = 8,
    length: Length = 64,
) -> Mapping[str, Any]:
    """A random text of known entropy: each letter depends on the two before it.

    No model of it can need fewer bits per character than `markov_entropy` says, by chance but for
    the size of a split.
    """
    chain = markov_chain(letters)
    rng = np.random.default_rng(seed)
    states = [0, 0]
    for draw in rng.random(characters):
        row = chain[states[-2], states[-1]].cumsum()
        states.append(min(int(np.searchsorted(row, draw, "right")), letters - 1))
    return _tokens([LETTERS[state] for state in states[2:]], length)


def markov_chain(letters: int) -> NDArray[np.float64]:
    """Return the probabilities of the next letter given two, (letters, letters, letters)."""
    rng = np.random.default_rng(letters)
    drawn: NDArray[np.float64] = rng.dirichlet(np.full(letters, 0.3), (letters, letters))
    return drawn


def markov_entropy(letters: int) -> float:
    """Return the entropy rate of the chain in bits per character."""
    chain = markov_chain(letters)
    pairs = np.full((letters, letters), letters**-2.0)
    for _ in range(1000):
        pairs = np.einsum("ab,abc->bc", pairs, chain)  # of the chain's last two letters
    logs = np.log2(chain, where=chain > 0, out=np.zeros_like(chain))
    return float(-(pairs[..., None] * chain * logs).sum())


def _tokens(sequence: Sequence[str], length: int) -> Mapping[str, Any]:
    names, ids = np.unique(np.array(sequence, dtype=object), return_inverse=True)
    if len(names) < 2:
        raise DataError("the text must have at least two different tokens", len(names))
    return {
        "train": (ids[:, None], ids),
        "classes": names.tolist(),
        "num_tokens": len(names),
        "kind": "language_model",
        "ordered": True,
        "standardize": False,
        "windows": NextTokens(length),
    }

"""Phrases: pairs of words that stand together more often than by chance are taken for one word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

#: joins the words of a phrase: `new_york`
JOINT = "_"


def with_phrases(
    sentences: Sequence[Sequence[str]], threshold: float, discount: int
) -> list[list[str]]:
    """Return sentences with pairs of words that score above the threshold as one word.

    The score of a pair is (count(a b) - discount) / (count(a) count(b)) (Mikolov et al., 2013,
    arXiv 1310.4546, equation 6), times the number of words, as word2phrase has it. From left to
    right, a word is part of one phrase at most.

    >>> with_phrases([["in", "new", "york"], ["new", "york"], ["in", "it"]], 1.5, 1)
    [['in', 'new_york'], ['new_york'], ['in', 'it']]
    """
    counts = Counter(word for sentence in sentences for word in sentence)
    pairs = Counter(pair for sentence in sentences for pair in pairwise(sentence))
    total = sum(counts.values())
    phrases = {
        (first, second)
        for (first, second), count in pairs.items()
        if (count - discount) * total > threshold * counts[first] * counts[second]
    }
    return [_joined(sentence, phrases) for sentence in sentences]


def _joined(sentence: Sequence[str], phrases: set[tuple[str, str]]) -> list[str]:
    found, place = [], 0
    while place < len(sentence):
        pair = tuple(sentence[place : place + 2])
        size = 2 if pair in phrases else 1
        found.append(JOINT.join(pair[:size]))
        place += size
    return found

"""Pairs of a word and one beside it, of which word vectors are learned."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from hpsearch.components.datasets.files import resolve
from hpsearch.components.datasets.phrases import with_phrases
from hpsearch.components.examples import Arrays
from hpsearch.errors import DataError
from hpsearch.registry import register

Count = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0)]
#: ends a sentence, over which no pair goes
_END = re.compile(r"[.!?:;]+\s|\n\s*\n")
#: words of the topics of `topic_words`
_TOPIC_SIZE = 12


@register("dataset", "word_pairs")
def word_pairs(
    folder: Path,
    seed: int,
    path: str,
    window: Count = 5,
    min_count: Count = 5,
    subsample: Share = 1e-3,
    phrases: Annotated[int, Interval(ge=0, le=4)] = 0,
    phrase_threshold: Annotated[float, Gt(0)] = 100.0,
    phrase_discount: Count = 5,
    encoding: str = "utf-8",
    dynamic_window: bool = True,
) -> Mapping[str, Any]:
    """A text file of yours for word vectors: each word with those up to `window` words away.

    As in word2vec (Mikolov et al., 2013): of each word's window a random part is used, unless
    `dynamic_window` is false, words that are rarer than `min_count` are left out, and of frequent
    ones of the share f some, which are kept by chance (sqrt(f / t) + 1) t / f with t = `subsample`
    (0 keeps all). No pair goes over the end of a sentence. Words are in lower case.

    In each of so many `phrases` passes pairs of words become one, `new_york`, whose count less
    `phrase_discount`, over both words' counts and times the number of words, is above
    `phrase_threshold` (equation 6 of their second paper); a pass after the first joins phrases
    with words, at half the threshold of the one before.
    """
    file = resolve(folder, path)
    try:
        content = file.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError, LookupError) as error:
        raise DataError(f"can't be read: {error}", str(file), keyword="path") from error
    sentences = [re.findall(r"\w+", each.lower()) for each in _END.split(content)]
    for number in range(phrases):
        sentences = with_phrases(sentences, phrase_threshold / 2**number, phrase_discount)
    return _pairs(sentences, window, min_count, subsample, seed, dynamic_window)


@register("dataset", "topic_words")
def topic_words(
    seed: int, sentences: Annotated[int, Ge(20)] = 2000, topics: Annotated[int, Ge(2)] = 2
) -> Mapping[str, Any]:
    """Random sentences of ten words, each of one topic, which share no word: `topic0_word3`."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, topics, sentences)
    words = rng.integers(0, _TOPIC_SIZE, (sentences, 10))
    made = [[f"topic{t}_word{word}" for word in row] for t, row in zip(topic, words, strict=True)]
    return _pairs(made, 5, 1, 0.0, seed)


def keep_probability(share: float | NDArray[Any], subsample: float) -> Any:
    """Return the chance (sqrt(f / t) + 1) t / f by which a word of the share f is kept.

    >>> round(keep_probability(0.01, 1e-3), 6), round(keep_probability(1.0, 1e-3), 6)
    (0.416228, 0.032623)
    """
    if subsample == 0:
        return np.ones_like(share)
    return np.minimum(1, (np.sqrt(share / subsample) + 1) * subsample / share)


@dataclass(frozen=True)
class Neighbours:
    """Pairs of words, made of the words of each part of a text; steps are (word, sentence)."""

    window: int
    subsample: float
    counts: tuple[int, ...]
    seed: int
    dynamic: bool = True
    output_names: ClassVar[tuple[str, ...]] = ()
    gap: ClassVar[int] = 0
    row_stride: ClassVar[int] = 0

    def __call__(self, steps: Arrays, before: Arrays | None = None) -> Arrays:
        """See Windows; rows are x (pairs, 1) and y (pairs,)."""
        rng = np.random.default_rng([self.seed, len(steps)])
        words, sentences = steps.x.astype(np.int64).T
        shares = np.array(self.counts) / sum(self.counts)
        kept = rng.random(len(words)) < keep_probability(shares, self.subsample)[words]
        words, sentences = words[kept], sentences[kept]
        least = 1 if self.dynamic else self.window
        reach = rng.integers(least, self.window + 1, len(words))
        pairs = np.concatenate(list(self._at_each_distance(words, sentences, reach)))
        if len(pairs) < 2:
            raise ValueError("two words at least that stand beside each other")
        return Arrays(pairs[:, :1], pairs[:, 1])

    def _at_each_distance(
        self, words: NDArray[np.int64], sentences: NDArray[np.int64], reach: NDArray[np.int64]
    ) -> Iterator[NDArray[np.int64]]:
        """Yield the pairs (word, one beside it) of each distance, in both directions."""
        for distance in range(1, min(self.window, len(words) - 1) + 1):
            first, second = words[:-distance], words[distance:]
            same = sentences[:-distance] == sentences[distance:]
            onward = same & (reach[:-distance] >= distance)
            back = same & (reach[distance:] >= distance)
            yield np.stack([first, second], 1)[onward]
            yield np.stack([second, first], 1)[back]


def _pairs(
    sentences: Sequence[Sequence[str]],
    window: int,
    min_count: int,
    subsample: float,
    seed: int,
    dynamic: bool = True,
) -> Mapping[str, Any]:
    counts = Counter(word for sentence in sentences for word in sentence)
    names = sorted(word for word, count in counts.items() if count >= min_count)
    if len(names) < 2:
        rule = f"the text must have two different words at least that occur {min_count} times"
        raise DataError(rule, len(names), keyword="min_count")
    numbers = {word: number for number, word in enumerate(names)}
    steps = np.array(
        [
            (numbers[word], number)
            for number, sentence in enumerate(sentences)
            for word in sentence
            if word in numbers
        ],
        np.float64,
    )
    return {
        "train": (steps, steps[:, 0].astype(np.int64)),
        "classes": names,
        "num_tokens": len(names),
        "kind": "word_embedding",
        "ordered": True,
        "standardize": False,
        "windows": Neighbours(
            window, subsample, tuple(counts[name] for name in names), seed, dynamic
        ),
    }

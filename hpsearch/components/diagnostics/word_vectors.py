"""What is asked of word vectors: analogies, and how alike people find pairs of words.

Shapes: V words, K numbers of a vector, Q questions.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components.batch import Batch
from hpsearch.components.callbacks import BaseCallback
from hpsearch.components.data import Data
from hpsearch.components.datasets.files import resolve
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.formatting import show_count
from hpsearch.registry import register

#: questions that are answered at a time
_QUESTIONS = 1024


class _Asking(BaseCallback):
    """Asks a file's questions of a model's vectors; those with unknown words are left out."""

    coverage: ClassVar[str]
    num_words: ClassVar[int]
    #: questions with known words without which there is no answer
    least: ClassVar[int] = 1

    def __init__(self, folder: Path, path: str) -> None:
        self._file = resolve(folder, path)
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            rule = f"can't be read: {error}"
            raise DataError(rule, str(self._file), keyword="path") from error
        #: the words of each question, and what belongs to it
        self._asked = [*self._questions(lines)]
        self._known = torch.zeros(0, self.num_words, dtype=torch.int64)

    @staticmethod
    def measures(model: nn.Module) -> bool:
        """Whether a model has vectors of words."""
        return _embedding_of(model) is not None

    def check_data(self, data: Data) -> None:
        """Find the words among those of the data; refuse a file of which too little is known."""
        if data.kind != "word_embedding":
            rule = f"it needs words, of the task word_embedding, but the data is for {data.kind}"
            raise BadConfigurationError(rule)
        numbers = {word: number for number, word in enumerate(data.class_names)}
        known = [each for each in self._asked if numbers.keys() >= set(each[0])]
        self._take([other for _, other in known])
        if len(known) < self.least:
            missing = sorted({w for words, _ in self._asked for w in words} - numbers.keys())
            lines = show_count(self.least, "line")
            rule = f"must have {lines} at least whose words are all in the vocabulary"
            rule += f" of the data ({len(known)} of {len(self._asked)} are"
            rule += f"; unknown: {', '.join(missing[:5])})" if missing else ")"
            raise DataError(rule, str(self._file), keyword="path")
        self._known = torch.tensor([[numbers[word] for word in words] for words, _ in known])

    @torch.no_grad()
    def probe(self, model: nn.Module, read: Callable[[str], Iterator[Batch]]) -> dict[str, float]:
        """Return the answer to the known questions, and which share of all they are."""
        table = _embedding_of(model)
        if table is None:
            return {}
        vectors = F.normalize(table.weight.float())
        answer = self._answer(vectors, self._known.to(vectors.device))
        return {**answer, self.coverage: len(self._known) / len(self._asked)}

    def _line(self, line: int, rule: str, text: str) -> DataError:
        return DataError(f"line {line} of {self._file} {rule}", text, keyword="path")

    def _take(self, others: Sequence[float]) -> None:
        """Keep what belongs to the known questions."""

    @abstractmethod
    def _questions(self, lines: Sequence[str]) -> Iterator[tuple[list[str], float]]:
        """Yield the words of each line, in lower case, and a number that belongs to it."""

    @abstractmethod
    def _answer(self, vectors: Tensor, known: Tensor) -> Mapping[str, float]:
        """Return metrics of vectors of length 1 (V, K) and of the numbers of words."""


@register("callback", "word_analogies")
class WordAnalogies(_Asking):
    """Asks for the fourth word of analogies, each epoch: `analogy_accuracy`.

    A file of yours has four words a line: a is to b as c is to d. Lines that begin with a colon
    name a group of them, as in word2vec's questions-words.txt. Of all words but a, b and c the one
    whose vector has the greatest cosine with b - a + c, of vectors of length 1, is to be d
    (3CosAdd; Mikolov et al., 2013; Levy & Goldberg, 2014). `analogy_coverage` is the share of
    lines whose words are all in the vocabulary: others aren't asked. For the task word_embedding.
    """

    metrics: ClassVar[tuple[str, ...]] = ("analogy_accuracy", "analogy_coverage")
    coverage: ClassVar[str] = metrics[1]
    num_words: ClassVar[int] = 4

    def _questions(self, lines: Sequence[str]) -> Iterator[tuple[list[str], float]]:
        for number, line in enumerate(lines, start=1):
            words = line.lower().split()
            if not words or words[0].startswith(":"):
                continue
            if len(words) != self.num_words:
                raise self._line(number, "must have four words", line)
            yield words, 0.0

    def _answer(self, vectors: Tensor, known: Tensor) -> Mapping[str, float]:
        answers = analogies(vectors, known[:, :3])
        return {self.metrics[0]: float((answers == known[:, 3]).double().mean())}


@register("callback", "word_similarities")
class WordSimilarities(_Asking):
    """Compares cosines of words with what people say, each epoch: `similarity_correlation`.

    A file of yours has two words and a number a line, greater for words that are more alike, with
    tabs, commas or blanks between them; the first line may have names, as those of WordSim-353.
    It is Spearman's correlation of these numbers with the cosines of the words' vectors.
    `similarity_coverage` is the share of lines whose words are both in the vocabulary: others
    aren't compared. For the task word_embedding.
    """

    metrics: ClassVar[tuple[str, ...]] = ("similarity_correlation", "similarity_coverage")
    coverage: ClassVar[str] = metrics[1]
    num_words: ClassVar[int] = 2
    least: ClassVar[int] = 3

    def _questions(self, lines: Sequence[str]) -> Iterator[tuple[list[str], float]]:
        for number, line in enumerate(lines, start=1):
            parts = [part for part in re.split(r"[\s,]+", line.lower().strip()) if part]
            if not parts:
                continue
            try:
                first, second, score = parts[0], parts[1], float(parts[2])
            except (IndexError, ValueError) as error:
                if number == 1:
                    continue
                raise self._line(number, "must have two words and a number", line) from error
            if len(parts) > 3 or score != score:
                raise self._line(number, "must have two words and a number", line)
            yield [first, second], score

    def _take(self, others: Sequence[float]) -> None:
        self._scores = list(others)
        if len(set(self._scores)) < 2 and len(self._scores) >= self.least:
            rule = "must have different numbers for pairs whose words are in the vocabulary"
            raise DataError(rule, str(self._file), keyword="path")

    def _answer(self, vectors: Tensor, known: Tensor) -> Mapping[str, float]:
        from scipy.stats import spearmanr  # takes half a second

        cosines = (vectors[known[:, 0]] * vectors[known[:, 1]]).sum(1)
        found = float(spearmanr(cosines.cpu().numpy(), self._scores).statistic)
        return {self.metrics[0]: found} if found == found else {}


def analogies(vectors: Tensor, questions: Tensor) -> Tensor:
    """Return the word x that is to c as b is to a, for each row (a, b, c) of words (Q, 3): that of
    the greatest cosine with b - a + c among vectors of length 1 (V, K), but for these three.

    >>> corners = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]])
    >>> analogies(F.normalize(corners), torch.tensor([[0, 1, 2], [3, 1, 2]])).tolist()
    [3, 0]
    """
    found = []
    for part in torch.split(questions, _QUESTIONS):
        a, b, c = part.T
        scores = (vectors[b] - vectors[a] + vectors[c]) @ vectors.T
        found.append(scores.scatter(1, part, -torch.inf).argmax(1))
    return torch.cat(found)


def _embedding_of(model: nn.Module) -> nn.Embedding | None:
    return next((each for each in model.modules() if isinstance(each, nn.Embedding)), None)

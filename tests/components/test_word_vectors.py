"""What is asked of word vectors, from files of a user's own."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr

import hpsearch.components.diagnostics.word_vectors
from hpsearch.components import Data, load_data
from hpsearch.components.diagnostics.word_vectors import analogies
from hpsearch.errors import BadConfigurationError, DataError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer
from hpsearch.validation import check
from tests.support.lanes import alone, assert_same, together
from tests.support.trainers import goes_on_bit_for_bit

#: words of the topics differ by their first letter
ANALOGIES = """\
: numbers of words
topic0_word1 Topic0_word2 topic1_word1 topic1_word2

topic0_word1 topic0_word3 topic1_word1 topic1_word3
: none of them
paris france rome italy
"""
SIMILARITIES = """\
Word 1,Word 2,Human (mean)
topic0_word1,topic0_word2,9.5
topic0_word1,topic1_word2,1
topic0_word3\ttopic0_word4 8
topic1_word3 Topic1_word4 7.5
topic0_word5,topic1_word6,0.5
tiger,cat,7.35
"""
CALLBACKS = [
    {"name": "word_analogies", "path": "analogies.txt"},
    {"name": "word_similarities", "path": "similarities.csv"},
]


@pytest.fixture(scope="module")
def topics() -> Data:
    return load_data({"name": "topic_words", "sentences": 300}, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("words")
    (path / "analogies.txt").write_text(ANALOGIES)
    (path / "similarities.csv").write_text(SIMILARITIES)
    return path


def config(folder: Path, number: int = 0, lr: float = 0.01, callbacks: Any = None) -> TrialConfig:
    values = {
        "model": {"name": "skip_gram", "width": 8},
        "task": {"name": "word_embedding"},
        "optimizer": {"name": "adam", "lr": lr},
        "callbacks": callbacks or CALLBACKS,
        "batch_size": 256,
    }
    return TrialConfig(number, 0, 4, values, folder=str(folder))


def test_answers_are_those_of_numpy() -> None:
    """By the definition, one question after the other."""
    torch.manual_seed(0)
    assert doctest.testmod(hpsearch.components.diagnostics.word_vectors).failed == 0
    vectors = F.normalize(torch.randn(40, 5))
    questions = torch.randint(40, (3000, 3))
    found = analogies(vectors, questions).numpy()
    table = vectors.numpy()
    for (a, b, c), answer in zip(questions.tolist(), found, strict=True):
        wanted = table[b] - table[a] + table[c]
        cosines = table @ wanted / np.linalg.norm(wanted).clip(1e-9)
        cosines[[a, b, c]] = -np.inf
        assert answer == cosines.argmax()


def test_of_planted_vectors(topics: Data, folder: Path) -> None:
    """A word's vector is that of its topic and that of its number."""
    trainer = Trainer(config(folder), topics)
    places = [tuple(map(int, name[5:].split("_word"))) for name in topics.class_names]
    rows = [F.one_hot(torch.tensor([topic, 2 + n]), 14).sum(0) for topic, n in places]
    trainer.model.embedding = torch.nn.Embedding.from_pretrained(torch.stack(rows).float())
    metrics = trainer._callbacks.probe(trainer.model, lambda split: iter(()))
    numbers = [9.5, 1, 8, 7.5, 0.5]
    expected = spearmanr([0.5, 0, 0.5, 0.5, 0], numbers).statistic
    assert metrics == {
        "analogy_accuracy": 1.0,
        "analogy_coverage": pytest.approx(2 / 3),
        "similarity_correlation": pytest.approx(expected),
        "similarity_coverage": pytest.approx(5 / 6),
    }


def test_training_brings_words_of_a_topic_together(topics: Data, folder: Path) -> None:
    curve = goes_on_bit_for_bit(*(Trainer(config(folder, lr=0.03), topics) for _ in range(3)))
    assert curve[-1]["similarity_correlation"] > 0.7
    assert curve[-1]["similarity_coverage"] == pytest.approx(5 / 6)
    assert 0 <= curve[-1]["analogy_accuracy"] <= 1


def test_in_lanes(topics: Data, folder: Path) -> None:
    trials = [config(folder, number, lr) for number, lr in enumerate((0.01, 0.03))]
    fused, _ = together(trials, topics, 2)
    for one, other in zip(alone(trials, topics, 2), fused, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("word_analogies", None, "must be a file"),
        ("word_analogies", b"\xff\xfe\x00", "can't be read"),
        ("word_analogies", "a b c d\n\na b c\n", "line 3 of .* must have four words"),
        ("word_analogies", "", r"must have 1 line at least .* \(0 of 0 are\)"),
        (
            "word_analogies",
            "topic0_word1 topic0_word2 topic1_word1 rome\nparis france rome italy",
            r"must have 1 line .*\(0 of 2 are; unknown: france, italy, paris, rome\)",
        ),
        ("word_similarities", "a,b\nc,d", "line 2 of .* must have two words and a number"),
        ("word_similarities", "a b 1\na b 2 3", "line 2 of .* must have two words and a number"),
        ("word_similarities", "a b 1\na b nan", "line 2 of .* must have two words and a number"),
        ("word_similarities", "topic0_word1 topic0_word2 1", r"3 lines .*\(1 of 1 are\)"),
        (
            "word_similarities",
            "\n".join(f"topic0_word1 topic0_word{i} 5" for i in range(2, 6)),
            "must have different numbers",
        ),
    ],
)
def test_files_that_ask_nothing(
    topics: Data, tmp_path: Path, name: str, text: str | bytes | None, rule: str
) -> None:
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "asked.txt").write_bytes(content)
    callbacks = [{"name": name, "path": "asked.txt"}]
    with pytest.raises(DataError, match=rf"callbacks.0.path.*{rule}"):
        Trainer(config(tmp_path, callbacks=callbacks), topics)


def test_other_data(folder: Path) -> None:
    wine = load_data({"name": "wine"}, seed=0)
    values = {
        "model": {"name": "mlp", "hidden_sizes": [4]},
        "optimizer": {"name": "sgd"},
        "callbacks": CALLBACKS[:1],
        "batch_size": 16,
    }
    with pytest.raises(BadConfigurationError, match=r"callbacks.0.*needs words, of the task"):
        Trainer(TrialConfig(0, 0, 1, values, folder=str(folder)), wine)


def test_one_is_the_objective_of_a_search(folder: Path) -> None:
    raw = {
        "name": "words",
        "objective": {"metric": "similarity_correlation", "direction": "maximize"},
        "dataset": {"name": "topic_words", "sentences": 100},
        "model": {"name": "skip_gram", "width": {"low": 4, "high": 8}},
        "task": "word_embedding",
        "optimizer": "adam",
        "callbacks": CALLBACKS,
    }
    assert check(draft_spec(raw, folder)).objective.metric == "similarity_correlation"
    raw["callbacks"] = [{"name": "word_similarities", "path": "other.csv"}]
    with pytest.raises(SpecError, match="callbacks.0.path: must be a file"):
        check(draft_spec(raw, folder))

"""Word vectors: which pairs there are, what is minimised, and what comes out of planted topics."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hpsearch.components import Data, load_data, task_for
from hpsearch.components.datasets.phrases import with_phrases
from hpsearch.components.datasets.word_pairs import Neighbours, keep_probability
from hpsearch.components.examples import Arrays
from hpsearch.components.models.word2vec import SkipGram
from hpsearch.components.tasks.word_embedding import NegativeSampling
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer


@pytest.fixture(scope="module")
def topics() -> Data:
    return load_data({"name": "topic_words", "sentences": 400}, seed=0)


def trained(data: Data, epochs: int, **task: Any) -> tuple[Trainer, list[dict[str, float]]]:
    values = {
        "model": {"name": "skip_gram", "width": 8},
        "task": {"name": "word_embedding", **task},
        "optimizer": {"name": "adam", "lr": 0.01},
        "batch_size": 256,
    }
    trainer = Trainer(TrialConfig(0, 0, epochs, values), data)
    return trainer, [trainer.train_epoch() or {} for _ in range(epochs)]


class TestPhrases:
    #: 12 words: a 4 times, b and c 3, d 2; a b 3 times, b c and c a 2, a d once
    SENTENCES = (("a", "b", "c", "a", "b"), ("c", "a", "b", "c"), ("a", "d"), ("d",))

    @pytest.mark.parametrize(
        ("threshold", "discount", "phrases"),
        [
            # (3 - 1) 12 / (4 · 3) = 2 of a b, (2 - 1) 12 / (3 · 3) = 1.33 of b c, 1 of c a
            (2.01, 1, set()),
            (1.99, 1, {"a_b"}),
            (1.3, 1, {"a_b"}),  # where b c is, b is part of a b already
            (0.99, 1, {"a_b", "b_c", "c_a"}),
            (1.99, 2, set()),
        ],
    )
    def test_worked_example(self, threshold: float, discount: int, phrases: set[str]) -> None:
        found = with_phrases(self.SENTENCES, threshold, discount)
        assert {word for sentence in found for word in sentence if "_" in word} == phrases

    def test_a_word_is_part_of_one_phrase(self) -> None:
        assert with_phrases([list("ababab")] * 2, 0.5, 1) == [["a_b"] * 3] * 2

    def test_a_second_pass_joins_phrases_with_words(self, tmp_path: Path) -> None:
        text = "new york times. " * 20 + "other words stand here alone. " * 20 + "new. york. " * 5
        (tmp_path / "a.txt").write_text(text)
        found = {}
        for passes in (0, 1, 2):
            section = {"name": "word_pairs", "path": "a.txt", "subsample": 0, "phrases": passes}
            section |= {"phrase_threshold": 4.0, "window": 1}
            names = load_data(section, seed=0, folder=tmp_path).class_names
            found[passes] = {name for name in names if name.startswith("new")}
        assert found == {0: {"new"}, 1: {"new", "new_york"}, 2: {"new", "new_york_times"}}


class TestNegativeSampling:
    def test_at_the_begin(self) -> None:
        """The loss is (k + 1) ln 2, and the gradient of v is 0."""
        torch.manual_seed(0)
        model, loss = SkipGram(9, 9, 4), NegativeSampling([1] * 9, 5)
        loss.noise[3] = 0.0  # the target, so that no negative is left out
        value = loss(model(torch.zeros(2000, 1)), torch.full((2000,), 3))
        value.backward()
        assert value.item() == pytest.approx(6 * math.log(2), rel=1e-6)
        assert model.embedding.weight.grad is not None
        assert (model.embedding.weight.grad == 0).all()

    def test_the_optimum_is_pointwise_mutual_information(self) -> None:
        """log(P(w, c) / (P(w) Pn(c))) - log k, of a table of counts (Levy & Goldberg, 2014)."""
        counts = torch.tensor([[8.0, 2, 2], [2, 6, 4], [2, 4, 6]])
        noise = counts.sum(0) ** 0.75 / (counts.sum(0) ** 0.75).sum()
        k = 2
        joint = counts / counts.sum()
        expected = (joint / (joint.sum(1, keepdim=True) * noise)).log() - math.log(k)
        outputs = expected.clone().requires_grad_()
        loss = NegativeSampling(counts.sum(0).tolist(), k)
        torch.testing.assert_close(loss.noise, noise)
        rows = torch.repeat_interleave(torch.arange(9), counts.flatten().long())
        rows = rows.repeat(20_000)
        torch.manual_seed(0)
        drawn = torch.multinomial(noise, len(rows) * k, replacement=True).view(-1, k)
        of_rows = outputs[rows // 3]
        # as the loss, but that a negative may be the word itself
        value = -F.logsigmoid(of_rows.gather(1, rows[:, None] % 3)).mean()
        value = value - F.logsigmoid(-of_rows.gather(1, drawn)).sum(1).mean()
        value.backward()
        assert outputs.grad is not None and outputs.grad.abs().max() < 2e-3

    def test_the_word_itself_is_no_negative(self) -> None:
        loss = NegativeSampling([1, 0], 4)  # only the first word is ever drawn
        outputs = torch.tensor([[2.0, -1.0]])
        found = loss(outputs, torch.tensor([0])).item()
        assert found == pytest.approx(-F.logsigmoid(torch.tensor(2.0)).item(), rel=1e-4)

    def test_negatives_are_drawn_by_a_power_of_the_counts(self) -> None:
        assert NegativeSampling([1, 16], 5).noise.tolist() == pytest.approx([1 / 9, 8 / 9])
        assert NegativeSampling([1, 4], 5, -0.5).noise.tolist() == pytest.approx([2 / 3, 1 / 3])

    def test_words_of_other_splits_are_never_negatives(self) -> None:
        """A power below 0 would make them the likeliest."""
        for power in (-1.0, 0.0, 0.75):
            noise = NegativeSampling([2, 0, 2], 5, power).noise.tolist()
            assert noise == pytest.approx([0.5, 0, 0.5])


class TestPairs:
    def test_a_window_may_be_used_whole(self) -> None:
        words = np.arange(10.0)
        steps = Arrays(np.stack([words, np.zeros(10)], 1), words)
        rows = Neighbours(3, 0.0, (1,) * 10, 0, dynamic=False)(steps)
        assert len(rows.y) == 2 * (9 + 8 + 7)
        assert len(Neighbours(3, 0.0, (1,) * 10, 0)(steps).y) < 2 * (9 + 8 + 7)

    def test_frequent_words_are_kept_by_chance(self) -> None:
        shares = np.array([0.0026, 0.00746, 0.01, 1.0])
        expected = [1.0, 0.50017, 0.416228, 0.032623]
        assert keep_probability(shares, 1e-3) == pytest.approx(expected, rel=1e-4)

    def test_near_words_are_likelier_and_no_pair_leaves_a_sentence(self) -> None:
        """A word at the distance d of a window w is used by chance (w - d + 1) / w."""
        words = np.tile(np.arange(10.0), 3000)
        sentences = np.repeat(np.arange(3000.0), 10)
        steps = Arrays(np.stack([words, sentences], 1), words)
        rows = Neighbours(4, 0.0, (1,) * 10, 0)(steps)
        distances = rows.y - rows.x[:, 0]
        for distance in (1, 2, 3, 4):
            for way in (-1, 1):
                chance = (distances == way * distance).sum() / (3000 * (10 - distance))
                assert chance == pytest.approx((4 - distance + 1) / 4, abs=0.02)
        assert np.abs(distances).max() == 4

    def test_a_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("The cat sat. A dog ran! The cat ran; the dog sat.\n" * 9)
        section = {"name": "word_pairs", "path": "a.txt", "window": 1, "subsample": 0}
        data = load_data({**section, "min_count": 10}, seed=0, folder=tmp_path)
        assert data.class_names == ("cat", "dog", "ran", "sat", "the")
        names = np.array(data.class_names)
        train: Any = data.train
        pairs = set(zip(names[train.x[:, 0]], names[train.y], strict=True))
        assert ("the", "cat") in pairs and ("cat", "the") in pairs
        assert ("sat", "ran") not in pairs and ("ran", "the") not in pairs

    def test_too_few_words(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("one two three")
        with pytest.raises(DataError, match="min_count: the text must have two different words"):
            load_data({"name": "word_pairs", "path": "a.txt"}, seed=0, folder=tmp_path)

    def test_they_are_split_by_the_text(self, topics: Data) -> None:
        with pytest.raises(DataError, match="windows of a series"):
            load_data({"name": "topic_words", "split": "random"}, seed=0)


class TestLearning:
    @pytest.mark.parametrize("task", [{}, {"loss": "cross_entropy"}])
    def test_words_of_a_topic_are_near_each_other(
        self, topics: Data, task: dict[str, Any]
    ) -> None:
        trainer, curve = trained(topics, 4, **task)
        assert curve[-1]["val_criterion"] < curve[0]["val_criterion"]
        vectors = F.normalize(trainer.model.embedding.weight.detach(), dim=1)  # type: ignore[union-attr, arg-type, operator]
        same = [name.split("_")[0] for name in topics.class_names]
        alike = np.array(same)[:, None] == np.array(same)
        cosines = (vectors @ vectors.T).numpy()
        others = ~np.eye(len(same), dtype=bool)
        assert cosines[alike & others].mean() > cosines[~alike].mean() + 0.5

    def test_other_models_are_refused(self, topics: Data) -> None:
        values = {"model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "batch_size": 16}
        with pytest.raises(BadConfigurationError, match="must be a model of tokens"):
            Trainer(TrialConfig(0, 0, 1, values), topics)

    def test_it_needs_words(self) -> None:
        wine = load_data({"name": "wine"}, seed=0)
        values = {"model": {"name": "skip_gram"}, "optimizer": {"name": "adam"}, "batch_size": 16}
        with pytest.raises(BadConfigurationError, match="skip_gram needs words"):
            Trainer(TrialConfig(0, 0, 1, values), wine)

    def test_the_data_says_what_the_task_is(self, topics: Data) -> None:
        assert task_for(topics).metrics == ("loss", "top_10_accuracy", "criterion")

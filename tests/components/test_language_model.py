"""Language models: what they report, and what holds for each model of tokens."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hpsearch.components import Arrays, Data, load_data, task_for
from hpsearch.components.batch import Batch
from hpsearch.components.datasets.sequences import markov_entropy
from hpsearch.components.models.transformer import (
    Attention,
    Block,
    FeedForward,
    attended,
    rotary_angles,
    rotated,
)
from hpsearch.components.tasks.baselines import baseline_scores
from hpsearch.errors import BadConfigurationError, SpecError
from hpsearch.spec import TrialConfig, draft_spec
from hpsearch.training import Trainer, export_model
from hpsearch.validation import check
from tests.support.lanes import assert_trained_as_alone
from tests.support.specs import changed
from tests.support.trainers import goes_on_bit_for_bit

TRANSFORMER = {"name": "transformer", "width": 16, "heads": 2, "layers": 1, "dropout": 0.1}
MODELS = {
    "rotary": TRANSFORMER,
    "learned": {**TRANSFORMER, "positions": "learned", "activation": "glu"},
    "lstm": {"name": "rnn", "hidden_size": 16},
    "words": {"name": "rnn", "hidden_size": 16, "cell": "rnn", "p_embed": 0.2},
    "gru": {"name": "rnn", "hidden_size": 16, "cell": "gru", "layers": 2, "dropout": 0.1},
}
ADAM = {"name": "adam", "lr": 0.01}


@pytest.fixture(scope="module")
def data() -> Data:
    section = {"name": "markov_text", "characters": 3000, "letters": 4, "length": 16}
    return load_data(section, seed=0)


def trainer(data: Data, number: int = 0, **values: Any) -> Trainer:
    values = {"model": TRANSFORMER, "optimizer": ADAM, "batch_size": 16, **values}
    return Trainer(TrialConfig(number, 0, 4, values), data)


def of_train(data: Data) -> Batch:
    assert isinstance(data.train, Arrays)
    return Batch(torch.from_numpy(data.train.x), torch.from_numpy(data.train.y))


class TestMetrics:
    def outputs(self, data: Data) -> tuple[Tensor, Batch]:
        torch.manual_seed(0)
        mask = torch.rand(3, 16) < 0.7
        batch = Batch(torch.zeros(3, 16), torch.randint(4, (3, 16)), mask)
        return torch.randn(3, 16, 4), batch

    def test_are_over_the_tokens_that_count(self, data: Data) -> None:
        outputs, batch = self.outputs(data)
        assert batch.mask is not None
        logits, targets = outputs[batch.mask], batch.targets[batch.mask]
        loss = F.cross_entropy(logits, targets).item()
        task = task_for(data)
        found = task.summary(task.totals(outputs, batch).tolist())
        assert found == pytest.approx(
            {
                "loss": loss,
                "accuracy": (logits.argmax(1) == targets).double().mean().item(),
                "perplexity": math.exp(loss),
                "bits_per_character": loss / math.log(2),
            }
        )
        assert task.loss(outputs, batch).item() == pytest.approx(loss)
        assert task.count(batch) == len(targets)

    @pytest.mark.parametrize("loss", ["cross_entropy", "brier"])
    def test_batches_add_up_by_their_tokens(self, data: Data, loss: str) -> None:
        outputs, batch = self.outputs(data)
        task = task_for(data, {"name": "language_model", "loss": loss})
        parts = zip(outputs.split([1, 2]), batch.split([1, 2]), strict=True)
        totals = torch.stack([task.totals(*part) for part in parts]).sum(0)
        found = task.summary(totals.tolist())
        assert found == pytest.approx(task.summary(task.totals(outputs, batch).tolist()))
        assert found["criterion"] == pytest.approx(task.loss(outputs, batch).item(), rel=1e-5)

    def test_bits_are_per_character_of_words(self, tmp_path: Any) -> None:
        (tmp_path / "my.txt").write_text("one two " * 50)
        section = {"name": "text", "path": "my.txt", "tokens": "words", "length": 8}
        words = load_data(section, seed=0, folder=tmp_path)
        task = task_for(words)
        space, one = words.class_names.index(" "), words.class_names.index("one")
        batch = Batch((), torch.tensor([[space, one]]))
        found = task.summary(task.totals(torch.zeros(1, 2, 3), batch).tolist())
        assert found["bits_per_character"] == pytest.approx(2 * math.log2(3) / 4)
        assert found["perplexity"] == pytest.approx(3)

    def test_baselines(self, data: Data) -> None:
        found = baseline_scores(task_for(data), data)
        assert found["uniform"]["val_bits_per_character"] == pytest.approx(2)
        assert 1.5 < found["unigram"]["val_bits_per_character"] < 2.01


@pytest.mark.parametrize("model", MODELS)
class TestEachModel:
    def test_gradients_reach_each_parameter(self, data: Data, model: str) -> None:
        one = trainer(data, model=MODELS[model])
        batch = of_train(data)
        one.task.loss(one.model(batch.inputs), batch).backward()
        unmoved = [name for name, p in one.model.named_parameters() if not p.grad.abs().sum()]
        assert not unmoved

    def test_sees_nothing_of_what_comes(self, data: Data, model: str) -> None:
        net = trainer(data, model=MODELS[model]).model.eval()
        ids = of_train(data).inputs[:4].clone()
        before = net(ids)
        ids[:, 9:] = (ids[:, 9:] + 1) % 4
        after = net(ids)
        torch.testing.assert_close(after[:, :9], before[:, :9])
        assert (after[:, 9:] - before[:, 9:]).abs().min(-1).values.max() > 1e-4

    def test_goes_on_bit_for_bit(self, data: Data, model: str) -> None:
        goes_on_bit_for_bit(*(trainer(data, model=MODELS[model]) for _ in range(3)))

    def test_is_exported(self, data: Data, model: str) -> None:
        one = trainer(data, model=MODELS[model])
        one.train_epoch()
        outputs, _ = one.predict("val")
        buffer = io.BytesIO()
        torch.save(export_model(one), buffer)
        buffer.seek(0)
        loaded = torch.load(buffer, weights_only=False)
        assert isinstance(data.val, Arrays)
        x = torch.from_numpy(data.val.x)
        torch.testing.assert_close(loaded(x), outputs)
        assert torch.equal(loaded.predict(x), outputs.argmax(-1))
        table = loaded.predict_table(data.val.x)
        assert list(table) == ["prediction", "probability"]
        assert table["prediction"][0] == data.class_names[outputs[0, -1].argmax()]
        assert table["probability"][0] == pytest.approx(outputs[0, -1].softmax(0).max().item())


def test_lanes_train_as_trainers_do(data: Data) -> None:
    """Batches are masked here, and the lanes' learning rates and dropout differ."""
    assert isinstance(data.train, Arrays) and data.train.mask is not None

    def several() -> list[Trainer]:
        return [trainer(data, i, optimizer={"name": "sgd", "lr": 0.1 + 0.1 * i}) for i in range(2)]

    assert_trained_as_alone(several)


def test_lanes_drop_the_words_that_trainers_do(data: Data) -> None:
    sgd = {"name": "sgd", "lr": 0.2}

    def several() -> list[Trainer]:
        models = [{**MODELS["words"], "p_embed": rate} for rate in (0.2, 0.5)]
        return [trainer(data, i, model=each, optimizer=sgd) for i, each in enumerate(models)]

    assert_trained_as_alone(several)


def test_parts_of_a_batch_count_by_their_tokens(data: Data) -> None:
    whole, parts = (
        trainer(data, batch_size="full", accumulate=each, model=MODELS["lstm"]) for each in (1, 3)
    )
    one, other = whole.train_epoch(), parts.train_epoch()
    assert one is not None and other is not None
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


def test_a_transformer_comes_near_the_entropy() -> None:
    section = {"name": "markov_text", "characters": 20_000, "letters": 3, "length": 16}
    data = load_data(section, seed=0)
    one = trainer(data, batch_size=32, model={**TRANSFORMER, "dropout": 0.0})
    curve = [one.train_epoch() for _ in range(4)]
    assert curve[-1] is not None
    unigram = baseline_scores(one.task, data)["unigram"]["val_bits_per_character"]
    found, bound = curve[-1]["val_bits_per_character"], markov_entropy(3)
    assert abs(found - bound) < 0.15 < unigram - bound


class TestAttention:
    def test_vmap_gives_the_same(self) -> None:
        torch.manual_seed(0)
        q, k, v = torch.randn(3, 2, 4, 2, 5, 8)
        found = torch.func.vmap(attended)(q, k, v)
        alone = [attended(*each) for each in zip(q, k, v, strict=True)]
        torch.testing.assert_close(found, torch.stack(alone))

    def test_a_block_is_torchs_with_a_causal_mask(self) -> None:
        torch.manual_seed(0)
        theirs = nn.TransformerEncoderLayer(
            8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True
        ).eval()
        feed_forward = FeedForward(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        ours = Block(8, Attention(8, 2), feed_forward, 0.0).eval()
        own = dict(theirs.named_parameters())
        names = {"norms.0": "norm1", "norms.1": "norm2", "parts.1.0": "linear1"}
        names |= {"parts.1.2": "linear2", "parts.0.output": "self_attn.out_proj"}
        state = {
            f"{mine}.{key}": own[f"{name}.{key}"]
            for mine, name in names.items()
            for key in ("weight", "bias")
        }
        for key in ("weight", "bias"):
            state[f"parts.0.gates.{key}"] = own[f"self_attn.in_proj_{key}"]
        ours.load_state_dict(state, strict=False)
        x = torch.randn(3, 5, 8)
        mask = nn.Transformer.generate_square_subsequent_mask(5)
        torch.testing.assert_close(ours(x), theirs(x, src_mask=mask, is_causal=True))

    def test_rotation_depends_on_the_distance_alone(self) -> None:
        torch.manual_seed(0)
        angles = rotary_angles(12, 8).double()
        q, k = torch.randn(2, 8, dtype=torch.float64)
        turned_q, turned_k = (
            rotated(each.expand(12, 8), angles.cos(), angles.sin()) for each in (q, k)
        )
        products = turned_q @ turned_k.T
        for distance in range(-5, 6):
            diagonal = products.diagonal(distance)
            torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
        assert products[0, 0].item() == pytest.approx(float(q @ k))


class Peeking(nn.Module):
    """Predicts each token from all of them."""

    def __init__(self, output_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(output_size, output_size)

    def forward(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.embedding(ids)
        return vectors + vectors.mean(1, keepdim=True)


class TestRefused:
    @pytest.mark.parametrize(
        ("model", "message"),
        [
            ({"name": "tests.components.test_language_model:Peeking"}, "from those before it"),
            ({"name": "rnn", "bidirectional": True}, "bidirectional: must be false"),
            ({"name": "transformer", "width": 10, "heads": 4}, "multiple of 8 with 4 heads"),
        ],
    )
    def test_models(self, data: Data, model: dict[str, Any], message: str) -> None:
        with pytest.raises(BadConfigurationError, match=message):
            trainer(data, model=model)

    def test_a_transformer_of_numbers(self) -> None:
        wine = load_data({"name": "wine"}, seed=0)
        with pytest.raises(
            BadConfigurationError, match="needs ids of tokens, sequences of the shape"
        ):
            trainer(wine)

    def test_an_mlp_of_tokens(self, data: Data) -> None:
        rule = r"name: must be a model for language_model \(rnn, transformer\), but mlp is for"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(data, model={"name": "mlp"})

    def test_augmentations(self, data: Data) -> None:
        with pytest.raises(
            BadConfigurationError, match="augmentations.0: must be none, as inputs"
        ):
            trainer(data, augmentations=["gaussian_noise"])
        spec = changed(dataset="markov_text", model="rnn", augmentations=["gaussian_noise"])
        with pytest.raises(SpecError, match="augmentations.0: must be none, as inputs"):
            check(draft_spec(spec))

    def test_other_tasks(self, data: Data) -> None:
        with pytest.raises(Exception, match="classification needs targets for classification"):
            task_for(data, {"name": "classification"})


def test_forgotten_classes_are_no_tokens(data: Data) -> None:
    """What asks for a class of each row has none here."""
    assert data.class_counts == () and not data.has_soft_targets
    assert np.isclose(sum(data.base_rates), 1)

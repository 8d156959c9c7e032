"""An encoder and a decoder that is fed what it says, or in training the targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.batch import IGNORED
from hpsearch.components.layers.teaching import Teaching
from hpsearch.components.models.encoder_decoder import EncoderDecoder
from hpsearch.errors import BadConfigurationError, DataError
from hpsearch.spec import TrialConfig
from hpsearch.training import Trainer, export_model
from hpsearch.training.checks.by_name import run_checks
from tests.support.trainers import goes_on_bit_for_bit

TASK = "sequence_generation"
STEPS, SYMBOLS = 4, 3


@pytest.fixture(scope="module")
def counting() -> Data:
    return of_sequences("counting")


@pytest.fixture(scope="module")
def echo() -> Data:
    return of_sequences("echo")


def of_sequences(name: str) -> Data:
    section = {"name": name, "sequences": 400, "length": STEPS, "symbols": SYMBOLS}
    return load_data({**section, "kind": TASK}, seed=0)


def trainer(data: Data, epochs: int = 8, precision: str = "fp32", **model: Any) -> Trainer:
    values = {
        "model": {"name": "encoder_decoder", "hidden_size": 32, **model},
        "task": {"name": TASK},
        "optimizer": {"name": "adam", "lr": 0.02},
        "batch_size": 32,
    }
    return Trainer(TrialConfig(0, 0, epochs, values | {"precision": precision}), data)


def net_of(trainer: Trainer) -> EncoderDecoder:
    assert isinstance(trainer.model, EncoderDecoder)
    return trainer.model


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = 50, STEPS
    x = torch.randn(*shape, SYMBOLS, generator=generator)
    return x, torch.randint(SYMBOLS, shape, generator=generator)


def unrolled(net: EncoderDecoder, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Return outputs where each step is given the class in the place before it; by torch's own
    recurrent net over all steps at once."""
    start = torch.full_like(given[:, :1], SYMBOLS)
    read = net.classes(torch.cat([start, given[:, :-1]], 1))
    hidden, _ = net.cell.weights(read, net.first(net.encoder(x)).tanh()[None])
    return net.output(hidden)


class TestFeedback:
    def test_training_is_given_the_targets(self, echo: Data) -> None:
        net, (x, y) = net_of(trainer(echo)).train(), batch()
        torch.testing.assert_close(net((x, y)), unrolled(net, x, y))

    def test_evaluation_is_given_what_it_said(self, echo: Data) -> None:
        """Whether targets are there or not."""
        net, (x, y) = net_of(trainer(echo)).eval(), batch()
        outputs = net((x, y))
        assert torch.equal(outputs, net(x))
        torch.testing.assert_close(outputs, unrolled(net, x, outputs.argmax(-1)))
        assert not torch.allclose(outputs, unrolled(net, x, y), atol=1e-3)

    def test_without_a_teacher_training_is_as_evaluation(self, echo: Data) -> None:
        net, inputs = net_of(trainer(echo, teacher_forcing=0.0)), batch()
        assert torch.equal(net.train()(inputs), net.eval()(inputs))

    def test_targets_that_count_nowhere_are_not_given(self, echo: Data) -> None:
        net, (x, y) = net_of(trainer(echo)).train(), batch()
        said = net.eval()(x)[:, 0].argmax(-1)
        y[:, 0] = IGNORED
        with_said = torch.cat([said[:, None], y[:, 1:]], 1)
        torch.testing.assert_close(net.train()((x, y)), unrolled(net, x, with_said))


class TestTeaching:
    @pytest.mark.parametrize(("epoch", "share"), [(1, 0.8), (3, 0.5), (6, 0.05), (9, 0.0)])
    def test_shares_of_steps_that_are_given(self, epoch: int, share: float) -> None:
        teaching = Teaching(0.8, 0.15).train()
        teaching.begin_epoch(epoch)
        for has_key in (False, True):
            if has_key:
                teaching.begin_step(12345)
            given = teaching(torch.zeros(400, 50, dtype=torch.int64))
            assert given.float().mean().item() == pytest.approx(share, abs=0.02)

    def test_all_are_given_where_the_share_stays_one(self) -> None:
        given = Teaching(1.0).train()(torch.tensor([[0, IGNORED, 2]]))
        assert given.tolist() == [[True, False, True]]

    def test_a_trainer_lets_the_share_fall(self, echo: Data) -> None:
        made = trainer(echo, teacher_forcing=0.9, teacher_forcing_decay=0.2)
        shares = []
        for _ in range(3):
            made.train_epoch()
            shares.append(net_of(made).teaching.keep.item())
        assert shares == pytest.approx([0.9, 0.7, 0.5])

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_two_epochs_and_two_are_four(self, echo: Data, precision: str) -> None:
        keywords = {"teacher_forcing": 0.9, "teacher_forcing_decay": 0.2}
        goes_on_bit_for_bit(*(trainer(echo, 4, precision, **keywords) for _ in range(3)))


class TestLearning:
    @pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
    def test_one_input_leads_to_many_outputs(self, counting: Data, share: float) -> None:
        made = trainer(counting, teacher_forcing=share)
        curve = [made.train_epoch() or {} for _ in range(8)]
        assert curve[-1]["val_accuracy"] > 0.97

    def test_many_to_many_after_all_is_read(self, echo: Data) -> None:
        """An exported model takes inputs alone, and says the same as in evaluation."""
        made = trainer(echo, 20)
        curve = [made.train_epoch() or {} for _ in range(20)]
        assert curve[-1]["val_accuracy"] > 0.8
        val = echo.val
        assert isinstance(val, Arrays)
        outputs, targets = made.predict("val")
        exported = export_model(made)
        torch.testing.assert_close(exported(torch.from_numpy(val.x)), outputs)
        table = exported.predict_table(val.x)
        right = (table.astype(int).to_numpy() == targets.numpy()).mean()
        assert right == pytest.approx(curve[-1]["val_accuracy"])

    def test_from_ids_of_different_lengths(self, tmp_path: Path) -> None:
        rows = [[i % 5] * (1 + i % 6) for i in range(200)]
        lines = [f'{{"ids": {row}, "tags": {row}}}' for row in rows]
        (tmp_path / "my.jsonl").write_text("\n".join(lines))
        section = {"name": "token_ids", "path": "my.jsonl", "target": "tags", "kind": TASK}
        data = load_data(section, seed=0, folder=tmp_path)
        made = trainer(data)
        curve = [made.train_epoch() or {} for _ in range(8)]
        assert curve[-1]["val_accuracy"] > 0.95
        said = export_model(made).predict_table(pd.DataFrame({"ids": [[3, 3]]}))
        assert said.iloc[0, :2].tolist() == ["3", "3"]


@pytest.mark.parametrize("check", ["batch_invariance", "loss_at_init", "eval_mode"])
def test_checks_read_inputs_with_their_targets(echo: Data, check: str) -> None:
    (found,) = run_checks(trainer(echo), [check])
    assert found.ok, found


class TestRefused:
    def test_cells_that_take_all_steps_at_once(self, echo: Data) -> None:
        with pytest.raises(BadConfigurationError, match="cell: must be lstm, gru or r.*'jordan'"):
            trainer(echo, cell="jordan")

    def test_other_models_and_tasks(self, echo: Data) -> None:
        rule = r"must be a model for sequence_generation \(encoder_decoder\)"
        with pytest.raises(BadConfigurationError, match=rule):
            trainer(echo, name="rnn")
        data = load_data({"name": "wine"}, seed=0)
        with pytest.raises(DataError, match="sequence_generation needs targets for sequence_lab"):
            trainer(data)

    def test_augmentations(self, echo: Data) -> None:
        values = {**trainer(echo).config.values, "augmentations": [{"name": "gaussian_noise"}]}
        with pytest.raises(BadConfigurationError, match="inputs come with their targets"):
            Trainer(TrialConfig(0, 0, 1, values), echo)

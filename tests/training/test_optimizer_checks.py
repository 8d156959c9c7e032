"""Whether an optimizer suits the data and the model, as checks say it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hpsearch.components import Arrays, Data, load_data
from hpsearch.training.checks.by_name import Finding, run_checks
from tests.support.trainers import make

TASK = "language_model"


def sparse(share: float) -> Data:
    """Wine with the first values of each row 0, not standardized."""
    data = load_data({"name": "wine", "standardize": False}, seed=0)
    assert isinstance(data.train, Arrays)
    x = np.array(data.train.x)
    x[:, : round(share * x.shape[1])] = 0
    return replace(data, train=replace(data.train, x=x))


class TestSparseInputs:
    def found(self, optimizer: str, share: float) -> Finding:
        [found] = run_checks(make(sparse(share), optimizer={"name": optimizer}), ["sparse_inputs"])
        return found

    @pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "asgd"])
    def test_one_rate_for_all_weights_is_told(self, optimizer: str) -> None:
        found = self.found(optimizer, 12 / 13)
        assert (found.ok, found.severity) == (False, "warning")
        assert found.message.startswith("92% of the inputs are 0") and "adagrad" in found.message

    @pytest.mark.parametrize(("optimizer", "share"), [("adam", 12 / 13), ("sgd", 0.5)])
    def test_rates_of_their_own_and_dense_inputs_are_fine(
        self, optimizer: str, share: float
    ) -> None:
        assert self.found(optimizer, share).ok

    def test_ids_of_tokens_are_no_zeros(self) -> None:
        data = load_data({"name": "markov_text"}, seed=0)
        trainer = make(data, model={"name": "rnn", "hidden_size": 4}, task={"name": TASK})
        assert run_checks(trainer, ["sparse_inputs"]) == []


class TestMissingDropout:
    @pytest.mark.parametrize(("rate", "ok"), [(0.0, False), (0.2, True)])
    def test_backstitch_wants_some(self, rate: float, ok: bool) -> None:
        model = {"name": "mlp", "hidden_sizes": [8], "dropout": rate}
        trainer = make(sparse(0.5), model=model, optimizer={"name": "backstitch"})
        [found] = run_checks(trainer, ["missing_dropout"])
        assert (found.ok, found.severity) == (ok, "warning")

    def test_others_arent_asked(self) -> None:
        [found] = run_checks(make(sparse(0.5)), ["missing_dropout"])
        assert (found.ok, found.message) == (True, "sgd needs none")

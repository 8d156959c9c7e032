"""Texts as rows of tokens, each of which is the target once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpsearch.components import Arrays, Data, load_data
from hpsearch.components.datasets.describing import describe_data
from hpsearch.components.datasets.sequences import markov_entropy
from hpsearch.components.datasets.windows import NextTokens
from hpsearch.errors import DataError

TEXT = "In the beginning, there was 1 word.\n" * 20


def load(folder: Path, content: str | bytes = TEXT, **section: Any) -> Data:
    (folder / "my.txt").write_bytes(content.encode() if isinstance(content, str) else content)
    section = {"name": "text", "path": "my.txt", "length": 16, **section}
    return load_data(section, seed=0, folder=folder)


def rows(split: Any) -> Arrays:
    assert isinstance(split, Arrays)
    return split


def read_back(data: Data, split: Any) -> str:
    """What a split's inputs say, one row after another, and its last target."""
    part = rows(split)
    counts = np.ones(part.y.shape, np.bool_) if part.mask is None else part.mask
    ids = [*part.x[counts], part.y[counts][-1]]
    return "".join(data.class_names[i] for i in ids)


@pytest.mark.parametrize("tokens", ["characters", "words"])
def test_splits_are_parts_of_the_text_in_order(tmp_path: Path, tokens: str) -> None:
    data = load(tmp_path, tokens=tokens)
    parts = [read_back(data, split) for split in (data.train, data.val, data.test)]
    assert "".join(parts) == TEXT
    assert data.input_shape == (16,) and data.output_shape == (16, data.output_size)
    assert data.num_tokens == data.output_size == len(data.class_names)
    assert data.kind == "language_model"


def test_a_target_is_the_next_token_and_counts_once(tmp_path: Path) -> None:
    part = rows(load(tmp_path).train)
    assert part.x.dtype == part.y.dtype == np.int64
    counts = np.ones(part.y.shape, np.bool_) if part.mask is None else part.mask
    assert np.array_equal(part.x[counts][1:], part.y[counts][:-1])


def test_the_last_training_goes_over_the_border_of_its_parts(tmp_path: Path) -> None:
    """Without a place that is filled up but at its end, or a token that is no target."""
    data = load(tmp_path)
    first, whole = rows(data.train), rows(data.merged().train)
    assert first.mask is not None and not first.mask[-1].all()
    counts = np.ones(whole.y.shape, np.bool_) if whole.mask is None else whole.mask
    assert counts[:-1].all() and np.array_equal(whole.x[counts][1:], whole.y[counts][:-1])
    said = read_back(data, whole)
    assert said + read_back(data, data.test) == TEXT
    assert len(whole) == -(-(len(said) - 1) // 16)


def test_windows_fill_up_the_last_one() -> None:
    ids = np.arange(8)
    found = NextTokens(3)(Arrays(ids[:, None].astype(np.float32), ids))
    assert found.x.tolist() == [[0, 1, 2], [3, 4, 5], [6, 6, 6]]
    assert found.y.tolist() == [[1, 2, 3], [4, 5, 6], [7, 7, 7]]
    assert found.mask is not None and found.mask.tolist()[2] == [True, False, False]
    assert NextTokens(7)(Arrays(ids[:, None], ids)).mask is None


def test_rows_and_joined_splits_keep_their_masks() -> None:
    whole = NextTokens(4)(Arrays(np.arange(9)[:, None], np.arange(9)))
    short = NextTokens(4)(Arrays(np.arange(4)[:, None], np.arange(4)))
    assert whole.mask is None and short.mask is not None
    joined = whole.joined(short)
    assert joined.mask is not None and joined.mask.sum() == 8 + 3
    assert joined.rows(np.array([2])).mask is not None


def test_the_entropy_of_a_random_text_is_what_its_pairs_say() -> None:
    section = {"name": "markov_text", "characters": 200_000, "letters": 3, "length": 100}
    data = load_data(section, seed=1)
    text = read_back(data, data.train)
    pairs: dict[str, list[int]] = {}
    for i in range(len(text) - 2):
        pairs.setdefault(text[i : i + 2], [0, 0, 0])["abc".index(text[i + 2])] += 1
    shares = [np.array(each) / sum(each) for each in pairs.values()]
    weights = np.array([sum(each) for each in pairs.values()]) / (len(text) - 2)
    entropies = [-(share[share > 0] * np.log2(share[share > 0])).sum() for share in shares]
    assert weights @ entropies == pytest.approx(markov_entropy(3), abs=0.01)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"path": "none.txt"}, "path: must be a file"),
        ({"encoding": "utf-99"}, "path: can't be read: unknown encoding"),
        ({"split": "random"}, "split: must not be given, .*windows of a series"),
        ({"train_rows": 3}, "train_rows: must not be given"),
    ],
)
def test_refused(tmp_path: Path, section: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, **section)


def test_a_text_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read: 'utf-8' codec"):
        load(tmp_path, b"\xff\xfe\xff")
    with pytest.raises(DataError, match="at least two different tokens"):
        load(tmp_path, "aaaa")
    with pytest.raises(DataError, match="steps, but a window needs 2 tokens at least"):
        load(tmp_path, "abcabcab")


def test_folds_are_of_rows_in_their_order(tmp_path: Path) -> None:
    data = load(tmp_path, folds=2)
    assert data.val is None and data.test is not None
    for train, val in data.folds:
        assert train.tolist() == list(range(len(train)))
        assert val.tolist() == list(range(len(train), len(train) + len(val)))
    assert len(rows(data.fold(1).val)) == len(data.folds[1][1])


def test_a_text_is_shown_as_text(tmp_path: Path) -> None:
    load(tmp_path)
    section = {"name": "text", "path": "my.txt", "length": 16}
    (column,) = describe_data(section, seed=0, folder=tmp_path).columns
    assert (column.column, column.reading) == ("text", "target (next token)")
    assert column.example == TEXT[:30].strip()
    assert column.why == f"{len(TEXT)} tokens of {len(set(TEXT))} different ones"

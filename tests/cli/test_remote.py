"""What a command refuses before it asks a service."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpsearch.cli.remote import RemoteSearches
from hpsearch.errors import SpecError, UploadError

SPEC = """
name: team
objective: {metric: score}
trainable: train.py:train
space: {x: {low: 0.0, high: 1.0}}
"""

TRAIN = """
def train(config):
    yield {"score": config["x"]}
"""


@pytest.fixture
def searches(tmp_path: Path) -> RemoteSearches:
    """A service that nobody answers for, and a spec with code of its user's."""
    (tmp_path / "team.yaml").write_text(SPEC)
    for name in ("train", "a", "b", "c"):
        (tmp_path / f"{name}.py").write_text("import a, b, c")
    return RemoteSearches("http://127.0.0.1:9", "token")


def test_code_needs_its_folder(searches: RemoteSearches, tmp_path: Path) -> None:
    told = (
        r"--working-dir: must be given: the spec needs a.py, b.py, c.py and 1 more; "
        rf"its folder is sent by `--working-dir {tmp_path}`"
    )
    with pytest.raises(SpecError, match=told):
        searches.submit(tmp_path / "team.yaml", [], None, 0)
    with pytest.raises(UploadError, match="must be a folder"):  # which is asked for next
        searches.submit(tmp_path / "team.yaml", [], tmp_path / "nothing", 0)


def test_mistakes_are_told_without_a_service(searches: RemoteSearches, tmp_path: Path) -> None:
    """It would say that the code, which nobody sent, isn't there; all others are told as well."""
    path = tmp_path / "team.yaml"
    for more, also in ((TRAIN, []), ("", ["trainable"])):
        (tmp_path / "train.py").write_text(f"import a, b, c\n{more}")
        with pytest.raises(SpecError) as caught:
            searches.submit(path, ["search.trials=none"], None, 0)
        assert [each.path for each in caught.value.problems] == ["search.trials", *also]

"""What the command of the best trial wrote, as an archive."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from hpsearch.errors import UnsafeFileError
from hpsearch.outcome import Outcome
from hpsearch.service.zipping import zipped
from hpsearch.spec import draft_spec
from hpsearch.untrusted_files import MAX_DEPTH, regular_files
from tests.support.team import API, Team

SPEC = {
    "name": "script",
    "command": "python train.py",
    "space": {"lr": {"low": 0.1, "high": 1.0}},
    "objective": {"metric": "accuracy"},
}


def finished(team: Team) -> Path:
    """Put a search of a command into the table; returns the folder of its best trial's files."""
    folder = team.service.runs.create(draft_spec(SPEC).spec)
    record = folder.take_over()
    record.add_trial({"lr": 0.5})
    record.start_attempt(0)
    record.report(0, 1, {"accuracy": 1.0})
    record.set_checkpoint(0, "trial-0000/epoch-0001.pt")
    record.end_trial(0, Outcome.COMPLETED)
    record.end("finished")
    team.add("script", desired="running", actual="finished")
    files = folder.checkpoints / "trial-0000" / "files"
    files.mkdir(parents=True)
    return files


def test_its_files_are_one_archive(team: Team) -> None:
    files = finished(team)
    (files / "last.pt").write_bytes(b"weights" * 500_000)
    (files / "step-9").mkdir()
    (files / "step-9" / "state.json").write_text("{}")
    answer = team.viewer.get(f"{API}/searches/script/model")
    assert 'filename="script-trial-0.zip"' in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    assert archive.namelist() == ["last.pt", "step-9/state.json"]
    assert archive.read("last.pt") == b"weights" * 500_000


def test_links_are_left_out(team: Team) -> None:
    files = finished(team)
    secret = team.service.runs.path / "secret"
    secret.write_text("SECRET")
    (files / "link").symlink_to(secret)
    (files / "folder").symlink_to(team.service.runs.path)
    answer = team.viewer.get(f"{API}/searches/script/model")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == []


def test_folders_are_walked_so_deep(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    with pytest.raises(UnsafeFileError, match="must be nested at most"):
        list(regular_files(tmp_path))


def test_an_archive_of_nothing() -> None:
    assert zipfile.ZipFile(io.BytesIO(b"".join(zipped([])))).namelist() == []

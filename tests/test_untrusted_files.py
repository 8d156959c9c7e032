"""Files that users' code may have replaced: links, FIFOs, devices, garbage and bombs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hpsearch.errors import SearchRunningError, UnsafeFileError
from hpsearch.runs import Runs
from hpsearch.service.search_files import SearchFiles
from hpsearch.untrusted_files import (
    create_empty,
    create_file,
    file_status,
    locked,
    open_regular,
    read_end,
)
from tests.support.replacements import REPLACEMENTS
from tests.support.specs import make_spec


@pytest.fixture(params=REPLACEMENTS, ids=lambda make: make.__name__)
def replace(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], None]:
    """What users' code may put in place of a file."""
    monkeypatch.chdir(os.getcwd())  # back afterwards
    make: Callable[[Path], None] = request.param
    return make


def test_nothing_but_a_regular_file_is_opened(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    (tmp_path / "search").mkdir()
    replace(tmp_path / "search" / "log")
    with pytest.raises(UnsafeFileError, match="search/log: must be a regular file"):
        open_regular(tmp_path, "search", "log")
    with pytest.raises(UnsafeFileError):
        read_end(tmp_path, "search", "log", num_bytes=10)
    assert file_status(tmp_path, "search", "log") is None


def test_no_folder_on_the_way_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "log").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with open_regular(tmp_path, "real", "log") as file:
        assert file.read() == b"text"
    with pytest.raises(UnsafeFileError, match="link/log: link must be a folder, no link"):
        open_regular(tmp_path, "link", "log")


@pytest.mark.parametrize("parts", [(), ("..", "x"), ("a", ""), ("a/b",), (".",), ("a\0b",)])
def test_no_path_leads_out(tmp_path: Path, parts: tuple[str, ...]) -> None:
    with pytest.raises(UnsafeFileError, match="must be a path inside the folder"):
        open_regular(tmp_path, *parts)


def test_the_end_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0123456789")
    assert read_end(tmp_path, "log", num_bytes=4) == (b"6789", False)
    assert read_end(tmp_path, "log", num_bytes=10) == (b"0123456789", True)
    with pytest.raises(FileNotFoundError):
        read_end(tmp_path, "none", num_bytes=4)
    with pytest.raises(FileNotFoundError):
        read_end(tmp_path, "none", "log", num_bytes=4)


def test_a_file_is_created_only_where_there_is_nothing(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    (tmp_path / "search").mkdir()
    create_empty(tmp_path, "search", "stop")
    assert (tmp_path / "search" / "stop").read_bytes() == b""
    (tmp_path / "search" / "stop").unlink()
    replace(tmp_path / "search" / "stop")
    create_empty(tmp_path, "search", "stop")
    secret = tmp_path / "secret"
    assert not secret.exists() or secret.read_text() == "SECRET"


def test_no_file_is_created_through_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "stop").symlink_to(tmp_path / "elsewhere")
    create_empty(tmp_path, "search", "stop")
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_with_content_is_created_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    for name in ("1.json", "2.json"):
        create_file(tmp_path, "search", "acts", name, content=b"{}")
    found = {path.name: path.read_bytes() for path in (tmp_path / "search" / "acts").iterdir()}
    assert found == {"1.json": b"{}", "2.json": b"{}"}
    with pytest.raises(FileNotFoundError):
        create_file(tmp_path, "other", "acts", "1.json", content=b"{}")
    (tmp_path / "search" / "led").symlink_to(tmp_path)
    with pytest.raises(UnsafeFileError):
        create_file(tmp_path, "search", "led", "1.json", content=b"{}")
    assert not (tmp_path / "1.json").exists()


def test_a_lock_is_looked_at_and_nothing_else_touched(
    tmp_path: Path, replace: Callable[[Path], None]
) -> None:
    search = Runs(tmp_path).create(make_spec())
    files = SearchFiles(tmp_path)
    assert not files.is_driven("small")
    with search.drive():
        assert files.is_driven("small")
        with pytest.raises(SearchRunningError):
            files.remove("small")
    assert not files.is_driven("small")
    search.lock.unlink(missing_ok=True)
    replace(search.lock)
    with locked(tmp_path, "small", "driver.lock") as is_held:
        assert is_held
    assert not (tmp_path / "secret").exists() or (tmp_path / "secret").read_text() == "SECRET"


def test_a_search_is_removed_without_what_its_links_lead_to(tmp_path: Path) -> None:
    search = Runs(tmp_path).create(make_spec())
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("kept")
    (search.path / "link").symlink_to(other)
    files = SearchFiles(tmp_path)
    files.remove("small")
    assert not search.path.exists()
    search.path.symlink_to(other)
    files.remove("small")
    assert (search.path.is_symlink(), (other / "kept").read_text()) == (False, "kept")


def test_a_search_of_very_deep_folders_is_removed(tmp_path: Path) -> None:
    search = Runs(tmp_path).create(make_spec())
    deep = os.open(search.path, os.O_RDONLY)
    for _ in range(3000):
        os.close(os.open("file", os.O_CREAT, dir_fd=deep))
        os.mkdir("below", dir_fd=deep)
        below = os.open("below", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    SearchFiles(tmp_path).remove("small")
    assert not search.path.exists()

"""Which files are a spec's code, found by reading, and what counts as a change."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import hpsearch
from hpsearch.binding import bind_code
from hpsearch.errors import CodeChangedError, SpecError
from hpsearch.record import Record
from hpsearch.spec import SearchSpec
from hpsearch.user_code import changes, code_hashes, missing_files
from tests.support.specs import make_spec

FILES = {
    "train.py": "import helpers, json\nfrom pkg import nets\nfrom pkg.deep.more import thing\n",
    "helpers.py": "def late():\n    import lazy\n",
    "lazy.py": "raise SystemExit",  # nothing is imported
    "pkg/__init__.py": "from . import base",
    "pkg/base.py": "",
    "pkg/nets.py": "from ..pkg import sibling\nfrom .deep import more",
    "pkg/sibling.py": "import circle",
    "pkg/deep/more.py": "import helpers",  # of a package without __init__.py
    "circle.py": "import train",
    "broken.py": "def (",
    "unused.py": "",
    "notebooks/other.py": "import unused",
    ".venv/lib/site.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "project"


def spec_of(folder: Path, trainable: str = "train.py:train", **sections: Any) -> SearchSpec:
    space = {"x": {"low": 0.0, "high": 1.0}}
    return make_spec(folder, trainable=trainable, space=space, **sections)


def test_the_files_that_a_spec_names_and_what_these_import(folder: Path) -> None:
    assert set(code_hashes(spec_of(folder))) == {
        "train.py",
        "helpers.py",
        "lazy.py",
        "pkg/__init__.py",
        "pkg/base.py",
        "pkg/nets.py",
        "pkg/sibling.py",
        "pkg/deep/more.py",
        "circle.py",
    }
    assert set(code_hashes(spec_of(folder, "broken.py:train"))) == {"broken.py"}
    assert set(code_hashes(spec_of(folder, "pkg.base:train"))) == {
        "pkg/__init__.py",
        "pkg/base.py",
    }
    assert code_hashes(make_spec(folder)) == {}


def test_code_is_found_wherever_a_spec_may_name_it(folder: Path) -> None:
    model = {
        "choices": [
            {"name": "mlp", "hidden_sizes": [4], "activation": "lazy.py:act"},
            {"name": "pkg.base:build"},
        ]
    }
    spec = make_spec(folder, dataset={"name": "notebooks/other.py:load"}, model=model)
    assert set(code_hashes(spec)) == {
        "lazy.py",
        "notebooks/other.py",
        "unused.py",
        "pkg/__init__.py",
        "pkg/base.py",
    }


def test_files_that_are_named_from_elsewhere(folder: Path, tmp_path: Path) -> None:
    specs = folder / "specs"
    specs.mkdir()
    assert set(code_hashes(spec_of(specs, "../lazy.py:f"))) == {"../lazy.py"}
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "nets.py").write_text("import beside")
    (shared / "beside.py").touch()
    named = code_hashes(spec_of(folder, f"{shared}/nets.py:f"))
    assert set(named) == {str(shared / "nets.py"), str(shared / "beside.py")}


def test_hpsearch_itself_is_nobody_s_code(tmp_path: Path) -> None:
    """Though it lies below a spec's folder in a clone of its repository."""
    (tmp_path / "mine.py").write_text("import hpsearch.spec")
    clone = Path(hpsearch.__file__).parents[1]
    assert set(code_hashes(spec_of(clone, f"{tmp_path}/mine.py:f"))) == {f"{tmp_path}/mine.py"}


def test_code_that_is_moved_with_its_folder_is_the_same(folder: Path, tmp_path: Path) -> None:
    before = code_hashes(spec_of(folder))
    folder.rename(tmp_path / "moved")
    moved = spec_of(tmp_path / "moved")
    assert code_hashes(moved) == before
    (tmp_path / "moved" / "lazy.py").write_text("changed = 1")
    (tmp_path / "moved" / "pkg" / "base.py").unlink()
    (tmp_path / "moved" / "circle.py").write_text("import unused")
    (tmp_path / "moved" / "notebooks" / "other.py").write_text("changed = 1")
    assert changes(before, code_hashes(moved)) == [
        "circle.py (changed)",
        "lazy.py (changed)",
        "pkg/base.py (gone)",
        "unused.py (new)",
    ]


def test_files_that_are_not_there_are_named_as_in_the_spec(folder: Path) -> None:
    assert missing_files(spec_of(folder)) == []
    assert missing_files(spec_of(folder, "gone/train.py:train")) == ["gone/train.py"]
    assert missing_files(spec_of(folder, "installed.package:train")) == []


@pytest.fixture
def record(folder: Path, tmp_path: Path) -> Record:
    spec = spec_of(folder)
    journal = tmp_path / "runs" / "small" / "record.journal"
    journal.parent.mkdir(parents=True)
    return Record.create(journal, spec, code=code_hashes(spec))


def test_a_record_is_bound_to_its_code_as_it_is(record: Record, folder: Path) -> None:
    (folder / "lazy.py").write_text("changed = 1")
    with pytest.raises(CodeChangedError, match=r"of small has changed .*: lazy\.py \(changed\)"):
        bind_code(record)
    bound = bind_code(record, changed_code=True)
    record.bind(bound.spec.folder, bound.code)
    assert bind_code(record) == bound
    again = Record.open(record.place, "small")
    assert (again.code, again.spec.folder) == (bound.code, str(folder))
    assert [files for _, files in again.code_changes] == [["lazy.py (changed)"]]


def test_a_record_is_bound_to_where_its_code_is(
    record: Record, folder: Path, tmp_path: Path
) -> None:
    folder.rename(tmp_path / "elsewhere")
    place = r"train\.py: must be a file in .*project \(if it was moved: `hpsearch resume small"
    with pytest.raises(SpecError, match=place):
        bind_code(record)
    with pytest.raises(SpecError, match="--folder: must be a folder, but got '/nowhere'"):
        bind_code(record, "/nowhere")
    bound = bind_code(record, tmp_path / "elsewhere")
    assert Record.open(record.place, "small").spec.folder == str(folder)  # nothing is written yet
    record.bind(bound.spec.folder, bound.code)
    assert Record.open(record.place, "small").spec.folder == str(tmp_path / "elsewhere")
    assert record.code_changes == []


def test_a_search_goes_on_with_its_own_copy_where_its_code_is_gone(
    record: Record, folder: Path, tmp_path: Path
) -> None:
    assert record.code_folder is not None
    bind_code(record).snapshot.write(record.code_folder)
    shutil.rmtree(folder)
    copy = tmp_path / "runs" / "small" / "code" / record.code_folder.name / "files"
    with pytest.raises(SpecError, match=rf"the search's copy is in {copy}\)"):
        bind_code(record)
    assert bind_code(record, copy).code == record.code


def test_a_record_without_hashes_gets_them(folder: Path, tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", spec_of(folder))
    (folder / "lazy.py").write_text("changed = 1")
    bound = bind_code(record)  # nothing is known to have changed
    record.bind(bound.spec.folder, bound.code)
    assert Record.open(record.place, "small").code == bound.code
    assert record.code_changes == []


def test_a_reader_sees_that_a_driver_has_other_code(record: Record, folder: Path) -> None:
    reader = Record.open(record.place, "small")
    assert reader.newest() is reader
    (folder / "lazy.py").write_text("changed = 1")
    record.bind(str(folder), code_hashes(record.spec))
    assert reader.newest().code == record.code

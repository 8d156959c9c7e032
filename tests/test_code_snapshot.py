"""The code of a search is imported as it was checked, whatever becomes of its files."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from hpsearch import registry
from hpsearch.code_snapshot import CodeSnapshot, kept_folder_of_code, read_snapshot, snapshot_name
from hpsearch.errors import UserCodeError
from hpsearch.importing import import_factory
from hpsearch.user_code import take_snapshot
from tests.support.specs import make_spec

FILES = {
    "snap_train.py": "import snap_helper\nfrom snap_package import nets\n"
    "def train(): return snap_helper.VALUE, nets.VALUE, nets.beside()\n",
    "snap_helper.py": "VALUE = 1\n",
    "snap_package/__init__.py": "",
    "snap_package/nets.py": "from pathlib import Path\nfrom . import base\nVALUE = base.VALUE\n"
    "def beside(): return Path(__file__).with_name('data.txt').read_text()\n",
    "snap_package/base.py": "VALUE = 1\n",
    "snap_package/data.txt": "data",
}


pytestmark = pytest.mark.usefixtures("forgotten_imports", "own_registry")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return tmp_path / "project"


def snapshot_of(folder: Path, name: str = "snap_train.py:train") -> CodeSnapshot:
    space = {"x": {"low": 0.0, "high": 1.0}}
    return take_snapshot(make_spec(folder, trainable=name, space=space))


def edit(folder: Path) -> None:
    for name in ("snap_helper.py", "snap_package/base.py"):
        (folder / name).write_text("VALUE = 22\n")


def test_edited_files_are_imported_as_they_were(folder: Path) -> None:
    snapshot = snapshot_of(folder)
    edit(folder)
    with snapshot.imported():
        train = import_factory("snap_train.py:train", folder)
        assert train() == (1, 1, "data")
        assert sys.modules["snap_helper"].__file__ == str(folder / "snap_helper.py")
    assert not list(folder.rglob("*.pyc"))
    assert snapshot.changed_files() == ["snap_helper.py", "snap_package/base.py"]


def test_so_are_files_that_are_gone(folder: Path) -> None:
    snapshot = snapshot_of(folder)
    (folder / "snap_train.py").unlink()
    (folder / "snap_package" / "__init__.py").unlink()
    (folder / "snap_package" / "base.py").unlink()
    with snapshot.imported():
        assert import_factory("snap_train.py:train", folder)() == (1, 1, "data")


def test_what_comes_first_on_the_path_is_imported_as_ever(folder: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(folder)
    (tmp_path / "snap_helper.py").write_text("VALUE = 'first'\n")
    sys.path[:0] = [str(tmp_path), str(folder)]
    with snapshot.imported():
        assert importlib.import_module("snap_helper").VALUE == "first"
    assert not any("_Finder" in type(finder).__name__ for finder in sys.meta_path)


def test_what_its_caller_has_imported_before_is_as_it_was_afterwards(folder: Path) -> None:
    sys.path.insert(0, str(folder))
    (folder / "snap_helper.py").write_text(
        "from hpsearch import register\nVALUE = 1\n"
        "@register('loss', 'snap_loss')\ndef loss(): 'A loss.'\n"
    )
    mine = importlib.import_module("snap_train")
    helper, nets = sys.modules["snap_helper"], sys.modules["snap_package.nets"]
    loss = registry.get("loss", "snap_loss").factory
    (folder / "snap_helper.py").write_text("VALUE = 22\n")
    with snapshot_of(folder).imported():
        assert import_factory("snap_train.py:train", folder)() == (22, 1, "data")
        assert sys.modules["snap_train"] is not mine
        assert "snap_loss" not in registry.names("loss")
    assert sys.modules["snap_train"] is mine
    assert sys.modules["snap_helper"] is helper
    assert sys.modules["snap_package"].nets is nets
    assert registry.get("loss", "snap_loss").factory is loss
    assert pickle.loads(pickle.dumps(mine.train)) is mine.train


def test_what_is_as_it_was_imported_isn_t_imported_again(folder: Path) -> None:
    with snapshot_of(folder).imported():
        train = import_factory("snap_train.py:train", folder)
    with snapshot_of(folder).imported():
        assert import_factory("snap_train.py:train", folder) is train


def test_a_copy_is_read_as_it_was_written(folder: Path, tmp_path: Path) -> None:
    (folder / "specs").mkdir()
    (tmp_path / "lib.py").write_text("def f(): ...")
    for name in ("../snap_train.py:train", "../../lib.py:f", f"{tmp_path}/lib.py:f"):
        snapshot = snapshot_of(folder / "specs", name)
        place = tmp_path / "code" / snapshot_name(snapshot.hashes)
        snapshot.write(place)
        snapshot.write(place)
        again = read_snapshot(place, snapshot.folder)
        assert (again.sources, again.files) == (snapshot.sources, snapshot.files)
        kept = kept_folder_of_code(place, snapshot.hashes)
        names = [each for each in snapshot.sources if not Path(each).is_absolute()]
        assert all((kept / each).is_file() for each in names)


def test_a_copy_that_was_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(folder)
    snapshot.write(tmp_path / "copy")
    (tmp_path / "copy" / "files" / "snap_helper.py").write_text("VALUE = 3\n")
    with pytest.raises(UserCodeError, match=r"is not what was checked: snap_helper\.py"):
        read_snapshot(tmp_path / "copy", folder)
    with pytest.raises(UserCodeError, match="can't be read"):
        read_snapshot(tmp_path / "nowhere", folder)


WORKER = """
import pickle, sys
from hpsearch.code_snapshot import use_snapshot
shipped, edited = sys.argv[1:]
rows = pickle.loads(open(shipped, "rb").read())
print(rows[0])
open(edited, "a").write("pass  # another line\\n")
try:
    rows[1]
except IndexError as error:
    import traceback
    print(traceback.format_exc())
"""


def test_a_worker_has_the_code_before_it_unpickles_data(folder: Path, tmp_path: Path) -> None:
    from hpsearch.tuning.on_ray.shipping import ShippedData

    file = folder / "snap_data.py"
    file.write_text(
        "class Rows:\n    def __getitem__(self, i):\n        return ['checked'][i]\n"
        "def load(): return Rows()\n"
    )
    snapshot = take_snapshot(make_spec(folder, dataset={"name": "snap_data.py:load"}))
    snapshot.write(tmp_path / "copy")
    with snapshot.imported():
        data = import_factory("snap_data.py:load", folder)()
        section = {"name": "snap_data.py:load"}
        shipped = ShippedData(data, section, str(folder), str(tmp_path / "copy"))
        (tmp_path / "data.pkl").write_bytes(pickle.dumps(shipped))
    file.write_text(file.read_text().replace("checked", "edited").replace("[i]", "[i]  # edited"))
    command = [sys.executable, "-c", WORKER, str(tmp_path / "data.pkl"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, *trace = done.stdout.splitlines()
    assert first == "checked"
    assert "        return ['checked'][i]".strip() in [line.strip() for line in trace]


def test_tracebacks_of_the_caller_show_its_files(folder: Path) -> None:
    (folder / "snap_helper.py").write_text("def fail(): raise OSError('away')\n")
    snapshot = snapshot_of(folder, "snap_helper.py:fail")
    with snapshot.imported():
        fail = import_factory("snap_helper.py:fail", folder)
    with pytest.raises(OSError, match="away") as caught:
        fail()
    assert "raise OSError('away')" in "".join(traceback.format_exception(caught.value))

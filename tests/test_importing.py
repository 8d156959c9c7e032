"""Users' modules are imported and called as programs: their folder, their sys.argv, their ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import hpsearch.components  # noqa: F401  # registers them
from hpsearch import registry
from hpsearch.errors import SpecError, UserCodeError
from hpsearch.importing import import_factory
from hpsearch.validation import check_spec
from tests.support.specs import make_spec

PARSER = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, {})
arguments = parser.parse_args()
def train(config, trial):
    yield {{"score": arguments.lr}}
"""
READER = """
import numpy as np
import torch

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(self.read())
    def __getitem__(self, i):  # a file that is there when it is wanted
        row = self.read()[i]
        return torch.tensor(row[:1]), int(row[1])
    def read(self):
        return np.loadtxt("rows.txt", dtype=np.float32)

def load():
    return {"train": Rows(), "val": Rows()}
"""


pytestmark = pytest.mark.usefixtures("forgotten_imports")


@pytest.fixture(autouse=True)
def own_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is one of hpsearch."""
    monkeypatch.setattr(sys, "argv", ["hpsearch", "run", "spec.yaml"])


def factory(folder: Path, code: str, name: str = "imported_module.py:train") -> Any:
    file = folder / name.partition(":")[0]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    return import_factory(name, folder)


def error_of(folder: Path, code: str, name: str = "imported_module.py:train") -> str:
    with pytest.raises(UserCodeError) as caught:
        factory(folder, code, name)
    return str(caught.value)


class TestImport:
    def test_finds_the_spec_s_folder_and_its_file_alone(self, tmp_path: Path) -> None:
        here, arguments = Path.cwd(), list(sys.argv)
        (tmp_path / "value.txt").write_text("0.5")
        code = (
            "import sys\nfrom pathlib import Path\nVALUE = Path('value.txt').read_text()\n"
            "ARGV = sys.argv\ndef train(): ..."
        )
        module = sys.modules[factory(tmp_path, code).__module__]
        assert module.VALUE == "0.5"
        assert [str(tmp_path / "imported_module.py")] == module.ARGV
        assert (Path.cwd(), sys.argv) == (here, arguments)

    def test_of_a_script_reads_no_command_line_but_its_own(self, tmp_path: Path) -> None:
        train = factory(tmp_path, PARSER.format("default=0.1"))
        assert next(train({}, None)) == {"score": 0.1}

    def test_of_a_script_that_wants_arguments_says_which(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, PARSER.format("required=True"))
        assert f"line 5 of {tmp_path}/imported_module.py ended the program" in error
        assert "SystemExit(2): the following arguments are required: --lr" in error
        assert "run the script as it is with `command:`" in error

    @pytest.mark.parametrize(
        ("end", "how"),
        [("sys.exit(main())", "SystemExit()"), ("sys.exit('no data')", "SystemExit('no data')")],
    )
    def test_of_what_ends_the_program_is_an_error(
        self, end: str, how: str, tmp_path: Path
    ) -> None:
        code = f"import sys\ndef main(): ...\ndef train(config, trial): ...\n{end}\n"
        error = error_of(tmp_path, code)
        assert error.startswith("imported_module.py:train: can't be imported: line 4 of ")
        assert f"ended the program by {how}; a module must only define things" in error

    def test_of_a_module_of_a_package_too(self, tmp_path: Path) -> None:
        (tmp_path / "exiting_package").mkdir()
        (tmp_path / "exiting_package" / "__init__.py").write_text("import sys\nsys.exit()\n")
        with pytest.raises(UserCodeError, match=r"line 2 of .*__init__\.py ended the program"):
            import_factory("exiting_package.train:train", tmp_path)

    def test_finds_what_lies_in_the_caller_s_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "specs").mkdir()
        (tmp_path / "module_of_a_notebook.py").write_text("def train(): ...")
        monkeypatch.setattr(sys, "path", ["", *sys.path])
        monkeypatch.chdir(tmp_path)
        assert callable(import_factory("module_of_a_notebook:train", tmp_path / "specs"))


class TestRelativeImport:
    CODE = "from . import helper\ndef train(config, trial): ...\n"

    def test_of_a_file_below_the_spec_names_the_module(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, self.CODE, "project/imported_module.py:train")
        assert "name it project.imported_module:train" in error
        (tmp_path / "project" / "helper.py").write_text("")
        assert callable(import_factory("project.imported_module:train", tmp_path))

    def test_of_a_file_beside_the_spec_says_where_its_package_is(self, tmp_path: Path) -> None:
        error = error_of(tmp_path, self.CODE)
        assert f"perhaps {tmp_path.name}.imported_module:train" in error
        assert "import modules beside the file by their bare names" in error

    def test_is_no_matter_of_other_errors(self, tmp_path: Path) -> None:
        assert "name it" not in error_of(tmp_path, "import no_such_module\n")


class TestCall:
    def model(self, folder: Path, code: str) -> registry.Component:
        name = "imported_model.py:build"
        (folder / "imported_model.py").write_text(f"import os, sys\ndef build(sizes):\n    {code}")
        return registry.get("model", name, folder)

    def test_finds_the_spec_s_folder(self, tmp_path: Path) -> None:
        component = self.model(tmp_path, "return os.getcwd(), sys.argv")
        here = Path.cwd()
        found = component.build({"sizes": []}, folder=tmp_path)
        assert found == (str(tmp_path), [str(tmp_path / "imported_model.py")])
        assert Path.cwd() == here

    def test_that_ends_the_program_is_an_error(self, tmp_path: Path) -> None:
        component = self.model(tmp_path, "sys.exit('no weights')")
        said = r"imported_model.py:build: line 3 of .* ended the program by SystemExit\('no weig"
        with pytest.raises(UserCodeError, match=said):
            component.build({"sizes": []}, folder=tmp_path)

    def test_gets_a_configuration_of_its_own(self, tmp_path: Path) -> None:
        component = self.model(tmp_path, "sizes.append(1)\n    return sizes")
        keywords = {"sizes": [8]}
        assert component.build(keywords) == component.build(keywords) == [8, 1]
        assert keywords == {"sizes": [8]}


class TestValidation:
    @pytest.mark.parametrize("code", [PARSER.format("required=True"), "raise SystemExit(0)"])
    def test_of_a_script_is_an_error_of_its_place(self, code: str, tmp_path: Path) -> None:
        (tmp_path / "validated_script.py").write_text(code)
        spec = make_spec(tmp_path, trainable="validated_script.py:train", space={"lr": 0.1})
        with pytest.raises(SpecError, match=r"^trainable: validated_script\.py:train: can't be"):
            check_spec(spec)

    def test_reads_a_data_set_in_the_spec_s_folder(self, tmp_path: Path) -> None:
        (tmp_path / "rows.txt").write_text("\n".join(f"{i} {i % 2}" for i in range(40)))
        (tmp_path / "validated_data.py").write_text(READER)
        spec = make_spec(tmp_path, dataset="validated_data.py:load", batch_size=8)
        here = os.getcwd()
        assert check_spec(spec).data is not None
        assert os.getcwd() == here

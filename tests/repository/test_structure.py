"""What the docs say of the structure is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.pages import GENERATED, pages

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: what paths in the docs may be relative to
BASES = [ROOT, ROOT / "hpsearch", ROOT / "hpsearch" / "service"]
PACKAGES = sorted(path.parent for path in (ROOT / "hpsearch").rglob("__init__.py"))


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_every_file_that_a_page_names_is_there(doc: Path) -> None:
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", doc.read_text())
    written = {name for page in pages() for name in page.files}  # by the reader
    for name in set(named) - written:
        assert any((base / name).exists() for base in BASES), name


def test_every_module_has_a_row() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = " ".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`(\w+)/?`", rows))
    places = (path for base in BASES[1:] for path in base.iterdir())
    modules = {
        path.stem
        for path in places
        if path.suffix == ".py" or (path / "__init__.py").exists()  # not what a move left behind
    }
    assert {name for name in modules if not name.startswith("_")} - named == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_folder_says_what_lives_there(package: Path) -> None:
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text()))
    assert docstring is not None
    assert len(docstring.split("\n\n")) > 1, "its purpose in a line, then how to change it"


def test_every_file_of_the_tuning_is_known_to_use_no_ray() -> None:
    """The contract lists them one by one, as those in `on_ray` may."""
    contracts = (ROOT / "pyproject.toml").read_text()
    for path in (ROOT / "hpsearch" / "tuning").glob("[!_]*.py"):
        assert f'"hpsearch.tuning.{path.stem}"' in contracts, path.name


def test_no_test_imports_another() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        found = re.findall(r"^\s*from (tests(?:\.\w+)*\.test_\w+) import", path.read_text(), re.M)
        assert not found, path


def test_nothing_cites_a_document_that_is_not_here() -> None:
    """Nor the numbers of a list that is kept elsewhere."""
    known = {path.name for path in ROOT.rglob("*.md") if ".venv" not in path.parts}
    known |= {name.rpartition("/")[2] for name in GENERATED}
    written = {"report.md", "fusion.md"}  # by searches, and by a benchmark
    for folder in ("hpsearch", "tests", "benchmarks", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            cited = re.findall(r"\b([A-Za-z_-]+\.md)\b", text)
            assert {name for name in cited if name not in known} <= written, path
            assert not re.search(r"\b(?:catalogue|reference|row) R?\d+\.\d", text), path

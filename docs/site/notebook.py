"""Notebooks as pages, with the outputs that they were saved with.

`python -m docs.site.notebook` executes them and saves what they show.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

from docs.site.markdown import Page

FOLDER = Path(__file__).parents[1] / "notebooks"
#: of a cell
TIMEOUT_S = 300
Node = nbformat.NotebookNode


def pages() -> Iterator[Page]:
    """Yield the page of each notebook, and its pictures."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        resources: dict[str, Any] = {"output_files_dir": f"{path.stem}_files"}
        notebook = read(path)
        text, resources = MarkdownExporter().from_notebook_node(notebook, resources)
        note = f"\n*This page is a [notebook]({path.name}) that you can run.*\n"
        title, _, rest = text.lstrip().partition("\n")
        yield Page(f"notebooks/{path.stem}.md", f"{title}\n{note}{rest}")
        for name, content in resources["outputs"].items():
            yield Page(f"notebooks/{name}", content)


def read(path: Path) -> Node:
    """Return a notebook as it was saved."""
    return nbformat.read(path, as_version=4)


def execute(path: Path, folder: Path) -> Node:
    """Return a notebook after it was executed in a folder; raises CellExecutionError."""
    notebook = read(path)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=TIMEOUT_S, resources=resources, record_timing=False)
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_noise(output)]
    return notebook


def _is_noise(output: Node) -> bool:
    """Whether an output is a message of a library: its log, or Ray's card of its cluster."""
    is_picture = any(kind.startswith("image/") for kind in output.get("data", {}))
    return output.output_type in ("stream", "display_data") and not is_picture


if __name__ == "__main__":
    for each in FOLDER.glob("*.ipynb"):
        with tempfile.TemporaryDirectory() as place:
            nbformat.write(execute(each, Path(place)), each)

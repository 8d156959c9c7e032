"""What MkDocs calls while it builds: it adds the generated pages, and fills the navigation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site import (
    command_line,
    components,
    gallery,
    http_interface,
    markdown,
    notebook,
    python_api,
    repository,
    spec_reference,
)

_MODULES = (
    *(repository, spec_reference, components, python_api, http_interface),
    *(command_line, gallery, notebook),
)
_made: dict[str, markdown.Page] = {}


def generated() -> Iterator[markdown.Page]:
    """Yield every page that is generated."""
    for module in _MODULES:
        yield from module.pages()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Generate the pages, and put those of a folder where the navigation says `FOLDER/*`."""
    sys.path.append(str(Path(sys.prefix) / "vision"))  # see requirements-vision.lock
    _made.clear()
    _made.update((page.path, page) for page in generated())
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, in place of files that are only read in the repository."""
    for path, page in _made.items():
        old = files.get_file_from_path(path)
        if old is not None:
            files.remove(old)
        files.append(File.generated(config, path, content=page.content))
    return files


def on_page_markdown(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page of docs/ that lead out of it into links to pages."""
    path = page.file.src_uri
    if path in _made:
        return text
    folder, _, _ = f"docs/{path}".rpartition("/")
    return repository.relink(text, folder, path)


def _expanded(item: Any) -> Any:
    if isinstance(item, dict):
        return {title: _expanded(below) for title, below in item.items()}
    if not isinstance(item, list):
        return item
    found: list[Any] = []
    for each in item:
        is_folder = isinstance(each, str) and each.endswith("/*")
        found += _pages_of(each[:-1], item) if is_folder else [_expanded(each)]
    return found


def _pages_of(folder: str, named: list[Any]) -> list[str]:
    pages = [path for path in _made if path.startswith(folder) and path.endswith(".md")]
    return [path for path in pages if path not in named]

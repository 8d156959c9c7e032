"""The site: it builds without a warning and without a network, and shows all that there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Page, sync_playwright
from starlette.staticfiles import StaticFiles

import hpsearch
from docs.site import command_line, gallery, http_interface, notebook, python_api
from hpsearch import catalogue, registry
from hpsearch.schema import json_schema
from hpsearch.spec import COMPONENT_SECTIONS, load_spec
from tests.support.browser import CHROMIUM
from tests.support.examples import ROOT, SPECS
from tests.support.serving import served
from tests.support.site import SitePage, broken_links, is_elsewhere, read_site, style_addresses

BUILD = [sys.executable, "-m", "mkdocs", "build", "--config-file", "docs/site/mkdocs.yml"]
#: whatever asks for another machine gets no answer
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
NOTEBOOKS = sorted(notebook.FOLDER.glob("*.ipynb"))
#: pages whose tables, code and pictures are wide
WIDE = (
    *("index.html", "reference/spec.html", "reference/components/optimizer.html"),
    *("reference/http.html", "reference/api.html", "techniques.html", "gallery.html"),
    *("gallery/digits_mlp.html", "notebooks/quickstart.html", "notebooks/tour.html"),
    "comparison.html",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, which is built without a network."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, **NO_NETWORK, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*BUILD, "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, SitePage]:
    return read_site(site)


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[str, SitePage]) -> None:
    loaded = {address for page in pages.values() for address in page.loaded}
    assert any(address.endswith(".js") for address in loaded)
    assert any(address.endswith(".css") for address in loaded)
    assert not [address for address in (*loaded, *style_addresses(site)) if is_elsewhere(address)]


def test_every_link_leads_somewhere(site: Path, pages: dict[str, SitePage]) -> None:
    assert broken_links(site, pages) == []


@pytest.mark.parametrize("family", catalogue.families())
def test_every_component_has_its_place(family: str, pages: dict[str, SitePage]) -> None:
    headings = pages[f"reference/components/{family}.html"].headings
    assert set(registry.names(family)) <= set(headings)


def test_every_field_of_a_spec_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "spec.html").read_text()
    schema = json_schema()
    fields = [*schema["properties"], *schema["$defs"]["SearchSettings"]["properties"]]
    assert set(COMPONENT_SECTIONS) <= set(fields)
    assert [each for each in fields if f"<code>{each}</code>" not in text] == []


def test_every_field_of_a_spec_says_what_it_is() -> None:
    schema = json_schema()
    models = {name: schema["$defs"][name] for name in ("Objective", "SearchSettings", "Resources")}
    for name, model in {"spec": schema, **models}.items():
        for key, each in model["properties"].items():
            assert each.get("description"), f"{name}.{key} has no description"


def test_every_command_is_in_the_reference(pages: dict[str, SitePage]) -> None:
    names = [name for name, _ in command_line.commands()]
    assert {"run", "token create"} <= set(names)
    assert set(names) <= set(pages["reference/command-line.html"].headings)


def test_every_route_is_in_the_reference(pages: dict[str, SitePage]) -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, methods in http_interface.document()["paths"].items()
        for method in methods
    }
    assert "POST /api/v1/searches" in routes
    assert routes <= set(pages["reference/http.html"].headings)


def test_every_public_name_is_in_the_reference(pages: dict[str, SitePage]) -> None:
    found = [*pages["reference/api.html"].headings, *pages["reference/errors.html"].headings]
    shown = {heading.split()[0] for heading in found}  # what follows says what kind it is
    errors = {each.__name__ for each in python_api.errors()}
    names = {name if name in errors else f"hpsearch.{name}" for name in hpsearch.__all__}
    assert names | errors <= shown


def test_every_spec_is_in_the_gallery(site: Path, pages: dict[str, SitePage]) -> None:
    for path in SPECS:
        page = pages[f"gallery/{path.stem}.html"]
        assert f"{path.stem}.svg" in page.loaded
        assert {"Result", "Best configuration"} <= set(page.headings)
        assert (site / "gallery" / f"{path.stem}.svg").stat().st_size < 60_000


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_result_of_the_gallery_is_of_its_spec(path: Path) -> None:
    found = json.loads((gallery.RESULTS / f"{path.stem}.json").read_text())
    assert f"search_spaces/{path.name} " in found["command"]
    assert found["metric"] == load_spec(path).objective.metric


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_was_saved_with(path: Path, tmp_path: Path) -> None:
    executed = notebook.execute(path, tmp_path)
    saved = notebook.read(path)
    assert [kinds(cell) for cell in executed.cells] == [kinds(cell) for cell in saved.cells]
    assert any("image/png" in kind for cell in saved.cells for kind in kinds(cell))


def kinds(cell: notebook.Node) -> list[list[str]]:
    """What kinds of output a cell has, in order."""
    return [sorted(output.get("data", {})) for output in cell.get("outputs", ())]


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.mount("/", StaticFiles(directory=site, html=True))
    with served(app) as address:
        yield address


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_their_window_and_load_nothing_else(address: str, width: int) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        errors: list[str] = []
        page.on("request", lambda request: _note_elsewhere(errors, request.url, address))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for path in WIDE:
            page.goto(f"{address}/{path}")
            assert overflow(page) == 0, path
        browser.close()
    assert errors == []


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_pages_that_are_opened_as_files_can_be_searched(site: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((site / "index.html").as_uri())
        page.get_by_role("textbox", name="Search").click()
        page.get_by_role("textbox", name="Search").press_sequentially("nesterov")
        page.locator(".md-search-result__item", has_text="Nesterov's momentum").wait_for()
        browser.close()


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    found: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return found


def _note_elsewhere(errors: list[str], url: str, address: str) -> None:
    if not url.startswith((address, "data:", "blob:")):
        errors.append(url)

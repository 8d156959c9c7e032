"""The inventory of messages: what it finds."""

from __future__ import annotations

from pathlib import Path

from tests.support.messages import inventory, messages

MODULE = '''
"""A docstring."""

@app.command()
def stop(name: Annotated[str, typer.Argument(help="A name.")]) -> None:
    """Stop a search."""
    rule = f"must be at most {limit:g}, or none"
    if not name:
        raise HpsearchError(f"{name} is missing")
    _log.warning("%s is late", name)
    problems.append(Problem("spec", rule))
    console.print("done")
    key = "a key"
    pattern = r"^File (.*), line (\\d+)$ of it"
    query = "SELECT name FROM searches"
'''
PAGE = """
{% if user %}
<p>Hello {{ user }}</p><input placeholder="your name">
{% endif %}
"""


def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(MODULE)
    found = [(message.kind, message.text) for message in messages(tmp_path / "a.py")]
    assert found == [
        ("help", "Stop a search."),
        ("help", "A name."),
        ("text", "must be at most {limit}, or none"),
        ("error", "{name} is missing"),
        ("log", "%s is late"),
        ("problem", "spec"),
        ("print", "done"),
    ]


def test_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE)
    found = [(message.line, message.text) for message in messages(tmp_path / "a.html")]
    assert found == [(3, "Hello {{ user }}"), (3, "your name")]


def test_the_package_says_something_in_most_of_its_parts() -> None:
    found = {str(path) for path, _ in inventory()}
    assert {"hpsearch/cli/specs.py", "hpsearch/service/pages/templates/search.html"} <= found

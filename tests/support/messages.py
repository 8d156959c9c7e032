"""An inventory of what hpsearch says to people, by file and line: `make messages` prints it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "hpsearch"
#: what a call does with its texts, by the end of its function's name
CALLS = {
    "Problem": "problem",
    "HTTPException": "http",
    "error_response": "http",
    "print": "print",
    "say": "print",
    "echo": "print",
    "confirm": "print",
    "add_row": "print",
    "Option": "help",
    "Argument": "help",
    "Typer": "help",
    **dict.fromkeys(("debug", "info", "warning", "error", "exception"), "log"),
}
#: attributes of HTML that are read out or shown
SHOWN_ATTRIBUTES = ("aria-label", "placeholder", "title")


@dataclass(frozen=True)
class Message:
    """A text with what is done with it."""

    line: int
    kind: str
    text: str


#: a plain word, and what no sentence has: regular expressions, SQL, CSS
_WORD = re.compile(r"(?<![\w<.-])[A-Za-z]?[a-z']+(?![\w.(=-])")
_CODE = re.compile(
    r"^\^|\(\?:|\\[dswb]|\b(SELECT|PRAGMA|ALTER|INSERT|UPDATE|BEGIN)\b|:[^;{}]*;\s*[\w}-]+:"
)


def _is_prose(text: str) -> bool:
    """Whether a text may be a message or a part of one: it has two plain words."""
    words = _WORD.findall(re.sub(r"\{[^{}]*\}", "", text))
    return len(text.split()) > 2 and len(words) > 1 and _CODE.search(text) is None


class _Texts(ast.NodeVisitor):
    """Collects the texts of a module, each with the nearest call or raise around it."""

    def __init__(self) -> None:
        self.found: list[Message] = []
        self._kind = "text"

    def visit_Raise(self, node: ast.Raise) -> None:
        """Texts below are those of an error."""
        self._below(node, "error")

    def visit_Call(self, node: ast.Call) -> None:
        """Texts below are those of the call, if it is one that says something."""
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        self._below(node, CALLS.get(name, "error" if name.endswith("Error") else self._kind))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """The docstring of a command or a route is its help; others are not for users."""
        doc = ast.get_docstring(node)
        if doc and any(isinstance(each, ast.Call) for each in node.decorator_list):
            self.found.append(Message(node.lineno, "help", doc))
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Expr(self, node: ast.Expr) -> None:
        """Leave out docstrings."""
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Take a text with values in braces."""
        parts = (
            part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        )
        self._take(node, "".join(map(str, parts)))

    def visit_Constant(self, node: ast.Constant) -> None:
        """Take a plain text."""
        if isinstance(node.value, str):
            self._take(node, node.value)

    def _take(self, node: ast.expr, text: str) -> None:
        if self._kind != "text" or _is_prose(text):
            self.found.append(Message(node.lineno, self._kind, text))

    def _below(self, node: ast.AST, kind: str) -> None:
        before, self._kind = self._kind, kind
        self.generic_visit(node)
        self._kind = before


class _Page(HTMLParser):
    """Collects what a template shows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Message] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the attributes that are shown."""
        for name, value in attrs:
            if name in SHOWN_ATTRIBUTES and value:
                self._take(value)

    def handle_data(self, data: str) -> None:
        """Take the text between tags."""
        self._take(data)

    def _take(self, text: str) -> None:
        if re.search("[A-Za-z]{2}", text):
            self.found.append(Message(self.getpos()[0], "page", text))


def messages(path: Path) -> list[Message]:
    """Return the messages of a module or a template, in their order."""
    source = path.read_text()
    if path.suffix == ".html":
        page = _Page()
        page.feed(re.sub(r"{%.*?%}", lambda match: "\n" * match[0].count("\n"), source))
        return page.found
    texts = _Texts()
    texts.visit(ast.parse(source))
    return sorted(texts.found, key=lambda message: message.line)


def inventory() -> Iterator[tuple[Path, list[Message]]]:
    """Yield each file that says something, with its messages."""
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]):
        if found := messages(path):
            yield path.relative_to(PACKAGE.parent), found


if __name__ == "__main__":
    for path, found in inventory():
        print(f"\n{path}")
        for message in found:
            text = " ".join(message.text.split()).encode(errors="replace").decode()
            print(f"{message.line:5} {message.kind:8} {text}")

"""The gallery: each spec of `search_spaces/` with what `python -m benchmarks.gallery` found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.site.markdown import Page, code, escape, table
from hpsearch.formatting import show

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "search_spaces"
RESULTS = ROOT / "docs" / "gallery"
_HEAD = """\
# Gallery

The specs of `search_spaces/`, each with the result of one run on two shared cores, within 3
minutes. `make search` runs the first that a newcomer meets, [digits_mlp](gallery/digits_mlp.md);
`python -m benchmarks.gallery` runs all of them.

"""
#: comments that a page says better itself
_TIMES = re.compile(r"\s*Takes about \d+ seconds[^.]*\.")


def pages() -> Iterator[Page]:
    """Yield the list of the specs and the page of each."""
    rows = []
    for path in sorted(SPECS.glob("*.yaml")):
        found = json.loads((RESULTS / f"{path.stem}.json").read_text())
        comment, spec = split_comment(path.read_text())
        best = f"{found['metric']} {show(found['value'])}"
        rows.append(
            [f"[{path.stem}](gallery/{path.stem}.md)", _first_sentence(comment), code(best)]
        )
        yield Page(f"gallery/{path.stem}.md", _page(path.stem, comment, spec, found))
    yield Page("gallery.md", _HEAD + table(["spec", "what it searches", "best"], rows))


def split_comment(text: str) -> tuple[str, str]:
    """Return the comment at the top of a spec as running text, and the spec below it."""
    lines = text.splitlines()
    size = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    words = [_comment_line(line) for line in lines[:size]]
    return _TIMES.sub("", "\n".join(words)).strip(), "\n".join(lines[size:])


def _comment_line(line: str) -> str:
    """What is indented in a comment is a command."""
    text = line.removeprefix("#")
    return f"\n```\n{text.strip()}\n```\n" if text.startswith("   ") else text.strip()


def _first_sentence(comment: str) -> str:
    return escape(" ".join(re.split(r"(?<=[^.][.:]) |\n\n|; |: ", comment)[0].split())).rstrip(
        ":."
    )


def _page(name: str, comment: str, spec: str, found: Mapping[str, Any]) -> str:
    parts = [f"# {name}\n", comment + "\n", f"```yaml\n{spec}\n```\n", "## Result\n"]
    if found["reduced"]:
        parts.append("With a reduced budget, so that it fits 3 minutes:\n")
    parts += [f"```\n{found['command']}\n```\n", _summary(found)]
    parts += [f"![Learning curves of the trials of {name}]({name}.svg)\n"]
    params = [[code(key), code(show(value))] for key, value in found["params"].items()]
    parts += ["## Best configuration\n", table(["hyperparameter", "value"], params)]
    if found["test_metrics"]:
        scores = [[code(key), code(show(value))] for key, value in found["test_metrics"].items()]
        parts += ["Its model on the test split:\n", table(["metric", "value"], scores)]
    if found.get("ensemble"):
        parts.append(f"The ensemble is the {found['ensemble']}.\n")
    return "\n".join(parts)


def _summary(found: Mapping[str, Any]) -> str:
    goal = "highest" if found["direction"] == "maximize" else "lowest"
    stopped = f", {found['stopped_early']} of them stopped early" if found["stopped_early"] else ""
    failed = f", {found['failed']} failed" if found["failed"] else ""
    cut = found["trials"] < found["planned"]
    planned = f" of {found['planned']}, then the time limit ended the search" if cut else ""
    cores = f"{found['versions']['cpus']} shared cores"
    return (
        f"The {goal} `{found['metric']}` is **{show(found['value'])}** (trial {found['trial']}). "
        f"{found['trials']} trials{planned}{stopped}{failed}; {found['epochs']} epochs in "
        f"{found['seconds']:.0f} s on {cores}, with the start of Ray's workers.\n\n"
        f"Versions: {_versions(found['versions'])}.\n"
    )


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in versions.items() if name != "cpus")

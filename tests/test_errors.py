"""The tree of errors is the one that `hpsearch.errors` draws."""

from __future__ import annotations

import inspect
import re

from hpsearch import errors


def drawn() -> dict[str, str]:
    """Each error of the tree, and the one above it."""
    path: list[str] = []
    above = {}
    for line in (errors.__doc__ or "").splitlines():
        if (found := re.match(r"([│├└─ ]*)(\w+Error)\b", line)) is not None:
            del path[len(found[1]) // 4 :]
            above[found[2]] = path[-1] if path else "Exception"
            path.append(found[2])
    return above


def test_the_tree_holds_all_errors_and_no_others() -> None:
    classes = inspect.getmembers(errors, inspect.isclass)
    defined = {
        name: each.__bases__[0].__name__
        for name, each in classes
        if issubclass(each, Exception) and each.__module__ == errors.__name__
    }
    assert drawn() == defined

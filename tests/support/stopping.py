"""Specs of early stopping."""

from __future__ import annotations

from hpsearch.spec import SearchSpec, draft_spec


def spec(early_stopping: dict[str, object], direction: str = "maximize") -> SearchSpec:
    draft = draft_spec(
        {
            "name": "s",
            "objective": {"metric": "score", "direction": direction},
            "search": {"early_stopping": early_stopping},
        }
    )
    assert draft.spec is not None, draft.problems
    return draft.spec

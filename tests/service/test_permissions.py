"""What the state of a search allows."""

from __future__ import annotations

import pytest

from hpsearch.errors import ConflictError
from hpsearch.service.permissions import check_state


def test_a_search_that_has_failed_is_extended_not_resumed() -> None:
    with pytest.raises(ConflictError, match="ring has failed: `hpsearch extend ring`"):
        check_state("resume", "ring", "failed", "failed")
    for recorded in ("stopped", "running", None):  # its jobs failed, not the search
        check_state("resume", "ring", "failed", recorded)
    check_state("extend", "ring", "failed", "failed")

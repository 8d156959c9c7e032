"""Every random draw of a trial comes from (search seed, trial number, purpose, epoch)."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, number: int, purpose: str, epoch: int = 0) -> int:
    """Return a 63-bit seed, independent of those of all other arguments.

    >>> derive_seed(0, 7, "shuffle", 1) == derive_seed(0, 7, "shuffle", 1)
    True
    >>> derive_seed(0, 7, "shuffle", 1) == derive_seed(0, 7, "shuffle", 2)
    False
    """
    digest = hashlib.sha256(f"{seed}/{number}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1

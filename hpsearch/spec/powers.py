"""Powers of two, such as sizes of batches have."""

from __future__ import annotations

import math


def is_power_of_two(value: object) -> bool:
    """Whether a value is a whole number that is a power of two.

    >>> is_power_of_two(64), is_power_of_two(64.0), is_power_of_two(48)
    (True, False, False)
    """
    return type(value) is int and value > 0 and value & (value - 1) == 0


def powers_of_two(low: float, high: float) -> list[int]:
    """Return the powers of two from `low` to `high`, both included, ascending.

    >>> powers_of_two(8, 100)
    [8, 16, 32, 64]
    """
    first = max(math.ceil(low), 1)
    exponents = range((first - 1).bit_length(), max(math.floor(high), 0).bit_length())
    return [2**exponent for exponent in exponents]

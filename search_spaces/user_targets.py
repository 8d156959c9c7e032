"""Handwritten digits with targets that are no single classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier


def attributes() -> dict[str, Any]:
    """What is true of a digit, 0 or 1: labels (rows, 4) that don't exclude each other."""
    digits = load_digits()
    number = digits.target
    holes = np.isin(number, [0, 6, 8, 9])
    labels = np.stack([number % 2 == 0, number > 4, np.isin(number, [2, 3, 5, 7]), holes], 1)
    return {"train": (digits.data / 16, labels), "classes": ["even", "large", "prime", "hole"]}


def fuzzy() -> dict[str, Any]:
    """Shares (rows, 10) of the digits among the 15 pictures that are most alike."""
    digits = load_digits()
    votes = KNeighborsClassifier(15)
    shares = cross_val_predict(votes, digits.data, digits.target, method="predict_proba")
    return {"train": (digits.data / 16, shares)}

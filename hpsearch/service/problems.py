"""Problems that another process found."""

from __future__ import annotations

from dataclasses import dataclass

from hpsearch.errors import Problem


@dataclass(frozen=True)
class ToldProblem(Problem):
    """A problem in the words of the process that found it; its value as text."""

    text: str = ""

    def __str__(self) -> str:
        return self.text

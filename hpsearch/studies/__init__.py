"""Studies: which of several variants of a search does better, by searches with paired seeds.

`study` is what a study's file says and the searches that follow from it, `measures` what is
compared, `answers` what was found; `run` is all of it.
"""

from __future__ import annotations

from hpsearch.studies.answers import Answer, answer_sections, plain_study
from hpsearch.studies.run import ANSWERS, run_study
from hpsearch.studies.study import FOLDER, Cell, Study, cells, load_study

__all__ = [
    "ANSWERS",
    "FOLDER",
    "Answer",
    "Cell",
    "Study",
    "answer_sections",
    "cells",
    "load_study",
    "plain_study",
    "run_study",
]

"""What a trial's learning curves say, in words: from its record alone, without torch.

`diagnose` reads one trial; a rule is a function of `Curves` in `learning_rules.py` or
`fit_rules.py`, with its thresholds. A new rule is a function there and its name in `rules.RULES`.
"""

from __future__ import annotations

from hpsearch.analysis.diagnosis.curves import Curves, curves_of
from hpsearch.analysis.diagnosis.finding import Diagnosis
from hpsearch.analysis.diagnosis.rules import diagnose
from hpsearch.analysis.diagnosis.trials import at_work, diagnoses, diagnoses_of

__all__ = ["Curves", "Diagnosis", "at_work", "curves_of", "diagnose", "diagnoses", "diagnoses_of"]

"""The record of a search, an Optuna study, from which everything else is derived.

`reading` is for everybody, `record` and `trial_writing` for the one driver that writes. Its
attributes are a file format: old records must stay readable. Records of users that aren't
trusted: `untrusted`.
"""

from hpsearch.outcome import Outcome
from hpsearch.record.acts import Act, Goal, Origin
from hpsearch.record.dry_epoch import needs_dry_epoch, passed_dry_epoch
from hpsearch.record.ensemble import EnsembleNote
from hpsearch.record.final import Finalist, FinalNote, Sample
from hpsearch.record.notes import DataNotes, LrCurve, LrRangeNote, OutlookNote
from hpsearch.record.record import Record
from hpsearch.record.shapes import SearchState
from hpsearch.record.trial_writing import OPTUNA_STATES
from hpsearch.record.trials import TrialRecord

__all__ = [
    "OPTUNA_STATES",
    "Act",
    "DataNotes",
    "EnsembleNote",
    "FinalNote",
    "Finalist",
    "Goal",
    "LrCurve",
    "LrRangeNote",
    "Origin",
    "Outcome",
    "OutlookNote",
    "Record",
    "Sample",
    "SearchState",
    "TrialRecord",
    "needs_dry_epoch",
    "passed_dry_epoch",
]

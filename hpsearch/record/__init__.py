"""The record of a search, from which all else is derived."""

from hpsearch.outcome import Outcome
from hpsearch.record.notes import DataNotes
from hpsearch.record.record import OPTUNA_STATES, Record
from hpsearch.record.shapes import SearchState
from hpsearch.record.trials import TrialRecord

__all__ = ["OPTUNA_STATES", "DataNotes", "Outcome", "Record", "SearchState", "TrialRecord"]

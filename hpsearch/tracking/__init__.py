"""The MLflow view of a search: derived from its record, and never waited for.

One experiment a search, one parent run, one child run a trial. Runs are found again by their
tags, so that a view can be rebuilt at any time: what is there already isn't written twice.
"""

from hpsearch.tracking.models import (
    import_ahead,
    register_best,
    register_ensemble,
    register_files,
)
from hpsearch.tracking.operations import (
    address_of_run,
    address_of_trials,
    log_report,
    sync,
)
from hpsearch.tracking.tracker import Tracker

__all__ = [
    "Tracker",
    "address_of_run",
    "address_of_trials",
    "import_ahead",
    "log_report",
    "register_best",
    "register_ensemble",
    "register_files",
    "sync",
]

"""The study of a search as an Optuna storage that can be read only."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from hpsearch.service.cache.records import Records


class ReadOnlyError(PermissionError):
    """Something wanted to write to a record."""


def _refuse(self: object, *args: object, **keywords: object) -> Any:
    raise ReadOnlyError("records are written by their drivers only")


class SearchStorage(BaseStorage):
    """The study of one search, as the only one of a storage that can't be written to."""

    def __init__(self, records: Records, name: str) -> None:
        self._records, self._name = records, name
        self._study_id = study_id(name)

    create_new_study = delete_study = _refuse
    set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = _refuse
    set_trial_intermediate_value = set_trial_user_attr = set_trial_system_attr = _refuse

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the number by which the dashboard knows the search."""
        if study_name != self._name:
            raise KeyError(study_name)
        return self._study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the search's name."""
        return self._name

    def get_study_directions(self, study_id: int) -> Any:
        """Return the direction of the objective."""
        return self._study.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Nothing: what the record keeps there is on the search's own page."""
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return what Optuna keeps of the study."""
        return dict(self._study.system_attrs)

    def get_all_studies(self) -> Any:
        """Return the one study."""
        storage = self._study._storage
        found = next(s for s in storage.get_all_studies() if s.study_name == self._name)
        study = copy.copy(found)
        study._study_id, study.user_attrs = self._study_id, {}
        return [study]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        return next(t for t in self.get_all_trials(self._study_id) if t._trial_id == trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Any = None
    ) -> list[FrozenTrial]:
        """Return the trials, with their hyperparameters and values alone."""
        trials = self._study.get_trials(deepcopy=False, states=states)
        return [_shown(trial) for trial in trials]

    @property
    def _study(self) -> Any:
        record, _ = self._records.read(self._name)
        return record.study


def _shown(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial without what the record keeps beside it, which may be long."""
    shown = copy.copy(trial)
    shown.user_attrs = {}
    return shown


def study_id(name: str) -> int:
    """Return the number of a search in the dashboard's addresses, the same for all time.

    Of 48 bits, which JavaScript's numbers hold: nobody finds a name that has another's number.
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")

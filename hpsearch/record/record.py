"""The record of a search: all that happened, in one Optuna study, written before it is acted on.

Everything else (MLflow runs, reports, status, the rungs of early stopping) is derived from it.
A search has one writer, its driver; anyone may read. The study holds, as attributes: of the
study, the spec, facts about the run, its sessions (one a driver) and its state; of a trial, its
resolved values, attempts, the metrics of each epoch (`epoch:3`), its checkpoint, and how it ended.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from hpsearch.errors import SearchExistsError
from hpsearch.outcome import DefaultResult
from hpsearch.process import quiet
from hpsearch.record.acts import ACT_PREFIX, Act
from hpsearch.record.ensemble import EnsembleNote
from hpsearch.record.final import FinalNote
from hpsearch.record.notes import DataNotes, LaneNotes, LrRangeNote, OutlookNote
from hpsearch.record.places import check_not_shared, kept_folder, search_folder
from hpsearch.record.shapes import SearchState
from hpsearch.record.storage import Place, open_storage, repair_journal
from hpsearch.record.trial_writing import TrialWriter
from hpsearch.space import SearchSpace
from hpsearch.spec import Scalar, SearchSpec
from hpsearch.user_code import changes

#: Optuna's loggers that announce each new study
_ANNOUNCING = (
    "optuna.storages.journal._storage",
    "optuna.storages._rdb.storage",
    "optuna.storages._in_memory",
)

#: seconds between two writes of how many epochs shared programs have trained
LANES_INTERVAL_S = 5.0


class Record(TrialWriter):
    """The record of one search, which its driver writes; mirrored in memory."""

    _lanes_written_at = -math.inf

    @classmethod
    def create(
        cls,
        place: Place,
        spec: SearchSpec,
        facts: Mapping[str, Any] | None = None,
        first_points: Iterable[Mapping[str, Scalar]] = (),
        home: Path | None = None,
        code: Mapping[str, str] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> Record:
        """Begin the record of a new search. `facts` are versions and such, as plain values;
        `code` are the hashes of the user's files.

        `clock` is that of a simulated search, in seconds since its start.
        `home` is where the search's folder will be, and isn't: a record in a database that was
        begun for it is of a process that died, and gives way while it has no trials.
        """
        storage = open_storage(place)
        is_shared = home is not None and not isinstance(place, Path)
        if home is not None and is_shared:
            _remove_abandoned(storage, spec.name, home)
        directions = [StudyDirection[each.direction.upper()] for each in spec.all_objectives]
        try:
            with quiet(*_ANNOUNCING):
                study_id = storage.create_new_study(directions, spec.name)
        except optuna.exceptions.DuplicatedStudyError as error:
            raise SearchExistsError(f"the record holds a search named {spec.name!r}") from error
        now = (clock or cls.now)()
        for key, value in {
            # In a database, whose it is; a journal lies in the search's folder.
            "home": str(home) if is_shared else None,
            "spec": spec.to_dict(),
            "folder": kept_folder(spec.folder, search_folder(place, home, {})),
            "code": None if code is None else dict(code),
            "facts": dict(facts or {}),
            "first_points": [dict(point) for point in first_points],
            "created_at": now,
            "sessions": [[now, None]],
            "state": "running",
        }.items():
            storage.set_study_user_attr(study_id, key, value)
        record = cls(place, storage, study_id, spec.name, home)
        record.now = clock or cls.now
        return record

    @classmethod
    def remove(cls, place: Place, name: str, home: Path | None = None) -> None:
        """Remove a record from what it shares with others; that there is none is no error.

        Raises RecordError for that of another folder than `home`, which is still there.
        """
        storage = open_storage(place)
        with suppress(KeyError):
            study_id = storage.get_study_id_from_name(name)
            check_not_shared(place, name, storage.get_study_user_attrs(study_id), home)
            storage.delete_study(study_id)

    @classmethod
    def reopen(cls, place: Place, name: str, home: Path | None = None) -> Record:
        """Take over a record whose driver ended or died, for a driver that continues.

        Raises RecordError where `home`, the search's folder, is a copy of the one whose record
        in a database it is.
        """
        if isinstance(place, Path) and place.is_file():
            repair_journal(place)
        record = cls.open(place, name, home)
        record._settle()
        record._complete_writes()
        return record

    def bind(self, folder: str, code: Mapping[str, str]) -> None:
        """Note where the spec's folder is from now on, and the hashes of the user's files there.

        Doing it twice changes nothing.
        """
        kept = kept_folder(folder, self.search_folder)
        if kept != self._attrs["folder"]:
            self._storage.set_study_user_attr(self._study_id, "folder", kept)
        self.spec = self.spec.model_copy(update={"folder": folder})
        if self.code == code:
            return
        if self.code is not None:
            files = changes(self.code, code)
            self.code_changes = [*self.code_changes, (self.now(), files)]
        self.code = dict(code)
        self._write("code_changes", "code")

    def check_not_shared(self) -> None:
        """Raise RecordError where this is the record of another folder, which is still there."""
        check_not_shared(self.place, self.name, self._attrs, self._home)

    def _settle(self) -> None:
        """Note that a record in a database is that of a folder that was moved."""
        home = self._attrs.get("home")
        if isinstance(self.place, Path) or self._home is None or home in (None, str(self._home)):
            return
        self.check_not_shared()
        kept = kept_folder(self.spec.folder, self._home)
        self._storage.set_study_user_attr(self._study_id, "folder", kept)
        self._storage.set_study_user_attr(self._study_id, "home", str(self._home))

    def go_on(self, spec: SearchSpec | None = None) -> None:
        """Note that a driver works on the search again, with more budget if a spec gives it."""
        if spec is not None:
            if spec != self.spec:  # others may become the best
                self.set_final(None)
                self.set_ensemble(None)
            self.spec = spec
            self._storage.set_study_user_attr(self._study_id, "spec", spec.to_dict())
        died_at = self._last_sign_of_life()
        closed = [[begin, end if end is not None else died_at] for begin, end in self.sessions]
        self.sessions = [*closed, [self.now(), None]]
        self.delivered, self.state, self.reason, self.ended_at = False, "running", None, None
        self._write("sessions", "delivered", "state", "reason", "ended_at")

    def set_default(self, params: Mapping[str, Scalar]) -> None:
        """Note the default configuration of a search, which has no trials yet: the first one."""
        self.default = dict(params)
        self._write("default")

    def set_earlier_default(self, result: DefaultResult) -> None:
        """Note what came of the default configuration in an earlier search of the same task."""
        plain = {**asdict(result), "values": sorted(map(list, result.values.items()))}
        self._storage.set_study_user_attr(self._study_id, "earlier_default", plain)
        self.earlier_default = result

    def note_act(self, act: Act) -> None:
        """Note what a user did, before anything acts on it."""
        key = f"{ACT_PREFIX}{len(self.acts) + 1}"
        self._storage.set_study_user_attr(self._study_id, key, act.to_plain())
        self.acts = [*self.acts, act]

    def change_space(self, spec: SearchSpec) -> None:
        """Note the spec with a range that a user narrowed; what was tried outside of it stays."""
        self._storage.set_study_user_attr(self._study_id, "spec", spec.to_dict())
        self.spec, self.space = spec, SearchSpace.of(spec)

    def set_resting(self, is_resting: bool) -> None:
        """Note that a paused search rests from now on, or goes on: its time doesn't count."""
        begin, end = self.sessions[-1]
        if is_resting and end is None:
            self.sessions = [*self.sessions[:-1], [begin, self.now()]]
        elif not is_resting and end is not None:
            self.sessions = [*self.sessions, [self.now(), None]]
        else:
            return
        self._write("sessions")

    def set_outlook(self, outlook: OutlookNote) -> None:
        """Note what further trials would bring, before that ends the search."""
        if outlook != self.outlook:
            self.outlook = outlook
            self._storage.set_study_user_attr(self._study_id, "outlook", asdict(outlook))

    def set_lr_ranges(self, ranges: Sequence[LrRangeNote], spec: SearchSpec) -> None:
        """Note the spec with the ranges that range tests found; there are no trials yet.

        The ranges are written last: if a driver dies before, the next one makes the same tests.
        """
        self._storage.set_study_user_attr(self._study_id, "spec", spec.to_dict())
        self.spec, self.space = spec, SearchSpace.of(spec)
        self.lr_ranges = list(ranges)
        plain = [asdict(each) for each in ranges]
        self._storage.set_study_user_attr(self._study_id, "lr_ranges", plain)

    def end(self, state: SearchState, reason: str | None = None) -> None:
        """Write how the search ended."""
        now = self.now()
        begin, rests_since = self.sessions[-1]
        self.sessions = [*self.sessions[:-1], [begin, rests_since or now]]
        self.ended_at, self.reason, self.state = now, reason, state
        if state == "failed":
            self.failed_at = now
            self._write("failed_at")
        self._write("sessions", "ended_at", "reason", "state")
        self._write_lanes()

    def set_data(self, notes: DataNotes) -> None:
        """Write how the search's data was read."""
        if notes != self.data:
            self.data = notes
            self._storage.set_study_user_attr(self._study_id, "data", notes.to_plain())

    def note_lanes(
        self,
        num_fused: int = 0,
        num_alone: int = 0,
        reasons: Sequence[str] = (),
        speedup: float | None = None,
    ) -> None:
        """Note epochs that were trained by shared programs and by trials themselves.

        They are written every few seconds, and when the search ends.
        """
        self.lanes = self.lanes.with_more(num_fused, num_alone, reasons, speedup)
        if time.monotonic() - self._lanes_written_at > LANES_INTERVAL_S:
            self._write_lanes()

    def _write_lanes(self) -> None:
        self._lanes_written_at = time.monotonic()
        if self.lanes != LaneNotes():
            self._storage.set_study_user_attr(self._study_id, "lanes", self.lanes.to_plain())

    def set_result(self, **result: Any) -> None:
        """Note what the search found at its end, such as the best trial's test metrics."""
        self.result = self.result | result
        self._write("result")

    def note_transfers(self, told: Sequence[str]) -> None:
        """Note what was taken from each earlier search of `warm_start`."""
        if list(told) != self.transfers:
            self.transfers = list(told)
            self._write("transfers")

    def set_final(self, final: FinalNote | None) -> None:
        """Note which configurations are trained again with new seeds, and what that gave."""
        if final == self.final:
            return
        self.final = final
        plain = None if final is None else final.to_plain()
        self._storage.set_study_user_attr(self._study_id, "final", plain)

    def set_ensemble(self, ensemble: EnsembleNote | None) -> None:
        """Note what the mean of the best trials comes to."""
        if ensemble != self.ensemble:
            self.ensemble = ensemble
            plain = None if ensemble is None else ensemble.to_plain()
            self._storage.set_study_user_attr(self._study_id, "ensemble", plain)

    def set_delivered(self) -> None:
        """Note that all that follows the end of a search was done."""
        self.delivered = True
        self._write("delivered")

    def _write(self, *names: str) -> None:
        """Write attributes of the search, in this order."""
        for name in names:
            self._storage.set_study_user_attr(self._study_id, name, getattr(self, name))


def _remove_abandoned(storage: BaseStorage, name: str, home: Path) -> None:
    """Remove what a process that died while it created a search left in a database.

    Nothing is lost: it has no trials, and no folder. Others' are for another home.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return
    attrs = storage.get_study_user_attrs(study_id)
    if (not attrs or attrs.get("home") == str(home)) and not storage.get_n_trials(study_id):
        storage.delete_study(study_id)

"""The searches of a runs folder on this machine."""

from __future__ import annotations

import codecs
import fcntl
import getpass
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Group, RenderableType

from hpsearch.acts import ask, pending, plain_acts, request
from hpsearch.cli.common import console, use_tracking_token
from hpsearch.cli.following import exit_status, follow, listed
from hpsearch.cli.searches import Budget, Code, Listed
from hpsearch.errors import (
    CodeChangedError,
    HpsearchError,
    Problem,
    RecordError,
    SearchExistsError,
    SearchRunningError,
    SpecError,
)
from hpsearch.growing_file import GrowingFile
from hpsearch.record import Record
from hpsearch.runs import Runs, SearchFolder
from hpsearch.spec.trials import FILES
from hpsearch.tuning.output import output_file
from hpsearch.untrusted_files import locked, open_regular

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport
    from hpsearch.analysis.diagnosis import Diagnosis

#: seconds between two looks at a followed log
POLL_S = 0.3


class LocalSearches:
    """Does what `Searches` says to a folder; `resume` and `extend` run the search here."""

    def __init__(self, runs: Path, as_json: bool = False) -> None:
        self._path, self._as_json = runs, as_json
        self._runs = Runs(runs)
        use_tracking_token(self._runs)

    def list(self, mine: bool) -> Sequence[Listed]:
        """See Searches; all searches of a folder are one's own."""
        return [self._listed(name) for name in self._runs.names()]

    def find(self, name: str) -> Listed:
        """See Searches."""
        folder, record = self._open(name)
        return listed(record, _state(folder, record))

    def _listed(self, name: str) -> Listed:
        try:
            return self.find(name)
        except RecordError as error:  # one that is damaged doesn't hide the others
            return Listed(name, "unreadable", {}, note=str(error))

    def submit(
        self, spec: Path, overrides: Sequence[str], working_dir: Path | None, priority: int
    ) -> str:
        """See Searches; the driver is a process of its own, which outlives this one."""
        from hpsearch.driver import read_earlier, with_warm_start
        from hpsearch.provenance import collect_facts
        from hpsearch.searches import create_search
        from hpsearch.spec import read_draft, read_text
        from hpsearch.user_code import code_hashes
        from hpsearch.validation import check

        if priority:
            raise SpecError(
                [
                    Problem(
                        "--priority",
                        "must be 0 without a service: a folder has no queue",
                        priority,
                    )
                ]
            )
        if working_dir is None:
            draft = read_draft(spec, overrides)
        else:
            draft = read_text(spec.read_text(), str(spec), working_dir, overrides)
        checked = check(draft)
        self._runs.check_new(checked.name)
        checked = with_warm_start(checked, self._runs)
        earlier, problems = read_earlier(self._runs, checked.search.earlier_searches)
        if problems:
            raise SpecError(problems)
        facts, code = collect_facts(checked.folder), code_hashes(checked)
        create_search(checked, self._runs, earlier, facts, code)
        self._start(checked.name)
        return checked.name

    def status(self, name: str) -> RenderableType:
        """See Searches."""
        from hpsearch.live import render_status

        folder, record = self._open(name)
        if _state(folder, record) != "interrupted":
            return render_status(record)
        note = f"\ninterrupted: its driver died; resume it with `hpsearch resume {name}`"
        return Group(render_status(record), note)

    def exit_status(self, name: str) -> int:
        """See Searches."""
        folder, record = self._open(name)
        return exit_status(_state(folder, record), record.best is not None)

    def logs(self, name: str, trial: int | None, follow: bool) -> Iterator[str]:
        """See Searches."""
        from hpsearch.analysis.plain import check_trial, trial_log

        folder, record = self._open(name)
        if trial is not None:
            check_trial(record, trial)
            output = output_file(folder.outputs, trial)
            yield from _text(folder, output, partial(self._trains, folder, trial), follow)
            yield trial_log(folder.open_record().trials[trial])
            return
        log = folder.driver_log
        if log.is_file():
            yield from _text(folder, log, partial(self._works, folder, log), follow)
        else:  # of `run`, whose driver printed to a terminal
            yield from _trial_logs(folder, follow)

    def stop(self, name: str) -> str:
        """See Searches."""
        from hpsearch.searches import stop_search

        record = stop_search(name, self._path)
        if record.state == "running":
            raise HpsearchError(f"{name}: stop requested; the driver is still running")
        state = f"{name}: {record.state}"
        hint = f"; resume it with `hpsearch resume {name}`" if record.state == "stopped" else ""
        return state + hint

    def resume(self, name: str, address: str | None, code: Code) -> str:
        """See Searches."""
        told = self._end_pause(name)
        if told is not None:
            return f"{name}: {told}"
        from hpsearch.searches import resume_search

        self._go_on(partial(resume_search, name, self._path, address=address), code)
        return ""

    def resume_in_background(self, name: str) -> None:
        """See Searches; the driver is a process of its own, which outlives this one."""
        from hpsearch.binding import bind_code
        from hpsearch.searches import check_resumable

        folder, record = self._open(name)
        if folder.is_driven() and record.paused_by is None:
            raise SearchRunningError(f"{name} is running")
        check_resumable(record)
        bind_code(record, None, changed_code=False)
        if self._end_pause(name) is None:
            self._start(name)

    def _end_pause(self, name: str) -> str | None:
        """Ask the driver of a paused search to go on; None if a driver has to be started."""
        folder, record = self._open(name)
        if record.paused_by is None or record.state != "running":
            return None
        if folder.is_driven():
            return str(self.act(name, "go_on")["told"])
        request(folder, _user(), action="go_on")  # for the driver that starts now
        return None

    def extend(self, name: str, budget: Budget, address: str | None, code: Code) -> str:
        """See Searches."""
        from hpsearch.searches import extend_search

        more = asdict(budget)
        self._go_on(partial(extend_search, name, self._path, address=address, **more), code)
        return ""

    def repeat(self, name: str, seeds: int, address: str | None, code: Code) -> str:
        """See Searches."""
        from hpsearch.searches import repeat_search

        start = partial(repeat_search, name, self._path, seeds=seeds, address=address)
        self._go_on(start, code)
        return ""

    def next_spec(self, name: str, new_name: str) -> dict[str, Any]:
        """See Searches."""
        from hpsearch.next_spec import plain_next

        return plain_next(self._open(name)[1], new_name)

    def _go_on(self, start: Callable[..., SearchReport], code: Code) -> None:
        """Follow a resumed search; asks before it runs with changed code."""

        def follow_it(changed: bool) -> None:
            go_on = partial(start, folder=code.folder, changed_code=changed)
            follow(lambda watch: go_on(on_start=watch), self._path, self._as_json)

        try:
            follow_it(code.changed)
        except CodeChangedError as error:
            if self._as_json or not _wants_changed_code(error):
                raise
            follow_it(True)

    def act(self, name: str, action: str, **what: Any) -> dict[str, Any]:
        """See Searches."""
        return ask(self._runs.search(name), _user(), action=action, **what)

    def acts(self, name: str) -> Sequence[dict[str, Any]]:
        """See Searches."""
        folder, record = self._open(name)
        return plain_acts(record, pending(folder))

    def delete(self, name: str) -> None:
        """See Searches."""
        folder = self._runs.search(name)  # whose record may be gone already
        with folder.drive():
            folder.remove()

    def reached(self, name: str, targets: Sequence[float]) -> Sequence[dict[str, Any]]:
        """See Searches."""
        from hpsearch.analysis.speed import plain_reached

        return plain_reached(self._open(name)[1], targets)

    def report(self, name: str, targets: Sequence[float]) -> tuple[str, str]:
        """See Searches."""
        from hpsearch.analysis import SearchReport, write_report

        folder, record = self._open(name)
        write_report(record, folder, targets)
        text = SearchReport(record, targets).to_markdown()
        return text, f"written to {folder.report_md} and {folder.report_html}"

    def explain(self, name: str, trial: int | None) -> Mapping[int, Sequence[Diagnosis]]:
        """See Searches."""
        from hpsearch.analysis.diagnosis import diagnoses
        from hpsearch.analysis.plain import check_trial

        _, record = self._open(name)
        if trial is not None:
            check_trial(record, trial)
        found = diagnoses(record)
        return {number: said for number, said in found.items() if trial in (None, number)}

    def spec(self, name: str) -> str:
        """See Searches."""
        return self._open(name)[1].spec.to_yaml()

    def best(self, name: str) -> dict[str, Any]:
        """See Searches."""
        from hpsearch.analysis.plain import plain_best

        _, record = self._open(name)
        found = plain_best(record)
        if found is None or record.best is None:
            raise HpsearchError(f"{name}: {_why_no_best(record)}")
        return found | {"spec": record.spec.with_values(record.best.values).to_yaml()}

    def download(self, name: str, folder: Path, ensemble: bool = False) -> Path:
        """See Searches."""
        search, record = self._open(name)
        if ensemble:
            return _copy_members(search, record, folder)
        trial = record.best
        if trial is None:
            raise HpsearchError(f"{name}: {_why_no_best(record)}")
        if trial.checkpoint is None:
            told = f"the best trial, {trial.number}, has no checkpoint: it saved none"
            raise HpsearchError(f"{name}: {told}")
        source = search.checkpoints / trial.checkpoint
        has_files = record.spec.has_files
        target = folder / f"{name}-trial-{trial.number}{'' if has_files else source.suffix}"
        if target.exists():
            raise SearchExistsError(f"{target} exists: choose another folder (--to)")
        if has_files:
            return Path(shutil.copytree(source.parent / FILES, target, symlinks=True))
        return Path(shutil.copyfile(source, target))

    def _open(self, name: str) -> tuple[SearchFolder, Record]:
        folder = self._runs.search(name)
        return folder, folder.open_record()

    def _start(self, name: str) -> None:
        command = [sys.executable, "-m", "hpsearch.cli", "resume", name]
        with SearchFolder(self._runs.path / name).driver_log.open("ab") as log:
            fcntl.flock(log, fcntl.LOCK_SH)  # for as long as the driver has it open
            subprocess.Popen(
                [*command, "--runs", str(self._runs.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C here must not reach it
            )

    def _trains(self, folder: SearchFolder, number: int) -> bool:
        """Whether a trial is running, as far as its record says."""
        return folder.is_driven() and folder.open_record().trials[number].outcome is None

    def _works(self, folder: SearchFolder, log: Path) -> bool:
        """Whether a driver works on a search, is starting, or has last words to write."""
        with locked(folder.path, log.name) as is_free:
            return not is_free or folder.is_driven()


def _trial_logs(folder: SearchFolder, follow: bool) -> Iterator[str]:
    """Yield what the record tells of each trial; with `follow` as they end, until all have."""
    from hpsearch.analysis.plain import trial_log

    told: set[int] = set()
    while True:
        is_driven = folder.is_driven()  # before the record is read: the driver's last words
        for trial in folder.open_record().trials:
            waits = follow and is_driven and trial.outcome is None
            if trial.number not in told and not waits:
                told.add(trial.number)
                yield trial_log(trial)
        if not (follow and is_driven):
            return
        time.sleep(POLL_S)


def _text(
    folder: SearchFolder, path: Path, grows: Callable[[], bool], follow: bool
) -> Iterator[str]:
    """Yield the text of a search's file, and with `follow` what is added while it grows."""
    source = partial(open_regular, folder.path, *path.relative_to(folder.path).parts)
    file = GrowingFile(source, grows if follow else lambda: False)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # chunks may split characters
    while (chunk := file.next()) is not None:
        if chunk:
            yield decoder.decode(chunk)
        else:
            time.sleep(POLL_S)


def _user() -> str:
    """Return who asks, as far as the system knows; a container may not."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _wants_changed_code(error: CodeChangedError) -> bool:
    if not (console.is_terminal and sys.stdin.isatty()):
        return False
    changed = ", ".join(error.files)
    return typer.confirm(f"The code has changed: {changed}. Continue with the current code?")


def _copy_members(search: SearchFolder, record: Record, folder: Path) -> Path:
    """Copy the checkpoints of the trials of an ensemble into a new folder."""
    if record.ensemble is None:
        raise HpsearchError(f"{record.name} {record.no_ensemble()}")
    target = folder / f"{record.name}-ensemble"
    if target.exists():
        raise SearchExistsError(f"{target} exists: choose another folder (--to)")
    target.mkdir(parents=True)
    for number in record.ensemble.counts:
        source = search.checkpoints / str(record.trials[number].checkpoint)
        shutil.copyfile(source, target / f"trial-{number}{source.suffix}")
    return target


def _why_no_best(record: Record) -> str:
    from hpsearch.analysis.next_steps import no_best

    return no_best(record)


def _state(folder: SearchFolder, record: Record) -> str:
    """The search's state; a search that should run, but has no driver, is interrupted."""
    is_interrupted = record.state == "running" and not folder.is_driven()
    return "interrupted" if is_interrupted else record.state

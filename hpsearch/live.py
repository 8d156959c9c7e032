"""What the terminal shows of a search: while it runs, on `status`, and at its end."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpsearch.analysis import Progress, summary
from hpsearch.analysis.diagnosis import Diagnosis, at_work, diagnoses_of
from hpsearch.analysis.ensemble import ensemble_told
from hpsearch.analysis.final import HEADER, final_rows, final_told
from hpsearch.analysis.gain import gain
from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.next_steps import failed_share, why_no_best
from hpsearch.analysis.objectives import broken_told, shown_objectives
from hpsearch.analysis.progress import needs_of_a_trial
from hpsearch.errors import Problem
from hpsearch.formatting import show, show_count, show_seconds
from hpsearch.outcome import Outcome
from hpsearch.record import (
    DataNotes,
    Record,
    TrialRecord,
    needs_dry_epoch,
    passed_dry_epoch,
)
from hpsearch.runs import SearchFolder
from hpsearch.spec import advice
from hpsearch.text_table import text_table

if TYPE_CHECKING:
    from hpsearch.analysis import SearchReport  # with pandas and plotly: slow to import

REFRESH_S = 0.5
#: without a terminal, a line is printed at most this often
LINE_INTERVAL_S = 5.0
#: running trials whose curves are read
NUM_DIAGNOSED = 8
#: trials of a leaderboard
NUM_LEADERS = 5


class LiveView:
    """Shows a running search: a panel in a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        #: the search, once it has begun
        self.record: Record | None = None
        self._is_dry = False  # until the dry epoch has passed
        self._said: set[str] = set()  # names of what curves show
        self._is_unsaved_said = False  # that the user's function saves nothing
        self._are_transfers_said = False  # what is taken from earlier searches
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> LiveView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_thread()
        if self.record is not None:
            self._say_news(self.record)

    def _end_thread(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self._done.clear()

    def watch(self, record: Record, folder: SearchFolder) -> None:
        """Begin to show a search, in place of one before; `run_search` calls this before the first
        trial, and before the best are trained again with new seeds."""
        self._end_thread()
        if self.record is not None:
            self._say_news(self.record)
        self.record = self.record or record
        learned = f": {record.data.description}" if record.data.description else ""
        first = f"search {record.name} in {folder.path}{learned}"
        found = map(str, record.lr_ranges or ())
        for line in (first, *warning_lines(record.data, advice(record.spec)), *found):
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)
        self._is_dry = needs_dry_epoch(record.spec) and passed_dry_epoch(record) is None
        show = self._show_panel if self._console.is_terminal else self._show_lines
        self._thread = threading.Thread(target=show, args=(record,), daemon=True)
        self._thread.start()

    def _show_panel(self, record: Record) -> None:
        with Live(
            render_progress(record, summary(record)),
            console=self._console,
            auto_refresh=False,
            transient=True,
        ) as live:
            pause = REFRESH_S
            while not self._done.wait(pause):
                started = time.perf_counter()
                self._say_news(record)
                live.update(render_progress(record, summary(record)), refresh=True)
                # It takes longer the more trials there are, and holds up the driver.
                pause = max(REFRESH_S, 20 * (time.perf_counter() - started))

    def _show_lines(self, record: Record) -> None:
        last = ""
        while not self._done.wait(LINE_INTERVAL_S):
            self._say_news(record)
            self._say_diagnoses(record)
            progress = summary(record)
            line = progress_line(record, progress)
            if line != last and progress.ended < progress.planned:  # the report shows the end
                self._console.print(line, soft_wrap=True, highlight=False, markup=False)
                last = line

    def _say_news(self, record: Record) -> None:
        if record.transfers and not self._are_transfers_said:
            self._are_transfers_said = True
            for each in record.transfers:
                line = f"warm start: {each}"
                self._console.print(line, soft_wrap=True, highlight=False, markup=False)
        self._say_dry_epoch(record)
        first = record.trials[0] if record.trials else None
        unsaved = None if first is None else first.warnings_by_check.get("checkpoint")
        if unsaved is not None and not self._is_unsaved_said:
            self._is_unsaved_said = True
            line = f"warning: trial 0: {unsaved}"
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _say_diagnoses(self, record: Record) -> None:
        """Say what the curves of running trials show, the first of each kind."""
        for number, each in running_diagnoses(record):
            if each.is_fault and each.name not in self._said:
                self._said.add(each.name)
                line = f"trial {number}: {each}"
                self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _say_dry_epoch(self, record: Record) -> None:
        """Say once that the user's code has trained its first epoch."""
        passed = passed_dry_epoch(record) if self._is_dry else None
        if passed is not None:
            self._is_dry = False
            line = f"dry epoch passed in {show_seconds(passed.seconds)} (trial {passed.number})"
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def warning_lines(notes: DataNotes, advice: Sequence[Problem] = ()) -> list[str]:
    """Return what the user should know of the data and of the spec, a line each."""
    return [f"warning: {text}" for text in (*notes.told, *advice)]


def progress_line(record: Record, progress: Progress) -> str:
    """Return how far a search is, in one line."""
    best = "none yet"
    if progress.leader is not None:
        best = f"{show(progress.leader_value)} (trial {progress.leader.number})"
    if record.spec.objectives:
        best += f", {show_count(len(record.pareto_front()), 'trial')} on the Pareto front"
    epochs = show_count(progress.epochs_used, "epoch")
    left = f", {show_seconds(progress.seconds_left)} left" if progress.seconds_left else ""
    if record.outlook is not None and record.state == "running":
        left += f"; {record.outlook.told(record.spec.objective.direction)}"
    return (
        f"{progress.ended}/{show_count(progress.planned, 'trial')}, {_at_work(record, progress)}, "
        f"{_endings(progress)}; "
        f"best {record.spec.objective.metric} {best}; {epochs}, "
        f"{progress.epochs_saved} saved; {show_seconds(progress.seconds_used)}{left}"
    )


def _endings(progress: Progress) -> str:
    """`3 stopped early, 0 failed`, and trials that users stopped, if there are any."""
    told = f"{progress.stopped_early} stopped early, {progress.failed} failed"
    by_users = progress.stopped_by_user
    return f"{told}, {by_users} stopped by users" if by_users else told


def running_diagnoses(record: Record) -> Iterator[tuple[int, Diagnosis]]:
    """Yield what the curves of running trials show, by the number of the trial."""
    found = diagnoses_of(record, at_work(record)[:NUM_DIAGNOSED])
    return ((number, each) for number, said in found.items() for each in said)


def _at_work(record: Record, progress: Progress) -> str:
    """`2 running, 1 waiting for 1 CPU and 1 GPU`; `paused by ann` while no worker is left."""
    running = f"{progress.running} running"
    if (pause := record.paused_by) is not None and record.state == "running":
        running = f"paused by {pause.user}" + ("" if record.is_resting else f", {running}")
    if not progress.waiting:
        return running
    needs = needs_of_a_trial(record.spec.resources)
    return f"{running}, {progress.waiting} waiting for {needs}"


def leaderboard_rows(record: Record) -> Iterator[tuple[str, str, str, str]]:
    """Yield number, objective, epochs and configuration of the leading trials, as texts."""
    for trial in leaders(record)[:NUM_LEADERS]:
        value = shown_objectives(record, trial)
        yield str(trial.number), value, str(trial.epochs), _configuration(trial)


def render_progress(record: Record, progress: Progress) -> RenderableType:
    """Return the panel of a running search."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("", ProgressBar(progress.planned, progress.ended, width=60))
    facts.add_row(
        "trials",
        Text.assemble(
            (f"{progress.ended}", "bold"),
            f" of {progress.planned} done, {_at_work(record, progress)}, {_endings(progress)}",
        ),
    )
    if progress.leader is not None:
        note = (
            ""
            if progress.best is not None
            else f" after {show_count(progress.leader.epochs, 'epoch')}"
        )
        value = f"{_metrics(record)} {shown_objectives(record, progress.leader)}"
        facts.add_row(
            "best",
            Text.assemble((value, "bold green"), f" (trial {progress.leader.number}{note})"),
        )
        facts.add_row("", escape(_configuration(progress.leader)))
    if (final := final_told(record)) is not None:
        facts.add_row("final", escape(final))
    if (ensemble := ensemble_told(record)) is not None:
        facts.add_row("ensemble", escape(ensemble))
    for line in broken_told(record):
        facts.add_row("constraint", escape(line))
    for number, each in running_diagnoses(record):
        facts.add_row(f"trial {number}", escape(str(each)))
    if record.outlook is not None:
        facts.add_row("outlook", record.outlook.told(record.spec.objective.direction))
    facts.add_row("epochs", f"{progress.epochs_used} used, {progress.epochs_saved} saved")
    left = ""
    if record.state == "running":
        seconds = progress.seconds_left
        left = f", {'unknown' if seconds is None else show_seconds(seconds)} left"
    saved = show_seconds(progress.seconds_saved)
    used = show_seconds(progress.seconds_used)
    facts.add_row("time", f"{used} used, {saved} saved by early stopping{left}")
    return facts


def render_status(record: Record) -> RenderableType:
    """Return a search's state, its numbers, and every trial that did not end well."""
    progress = summary(record)
    state = f"{record.name}: {record.state}" + (f" ({record.reason})" if record.reason else "")
    parts: list[RenderableType] = [Text(state, style="bold"), render_progress(record, progress)]
    if record.data.description:
        parts += ["", Text(f"data: {record.data.description}")]
    if record.lanes.told:
        parts.append(Text(f"fuse: {record.lanes.told}"))
    parts += [Text(f"warm start: {each}") for each in record.transfers]
    parts += map(Text, warning_lines(record.data, advice(record.spec)))
    parts += _render_front(record)
    parts += [Text(str(note)) for note in record.lr_ranges or ()]
    parts += _render_troubles(record)
    bad = [trial for trial in record.trials if _ended_badly(trial)]
    if bad:
        header = ("trial", "outcome", "epochs", "reason")
        rows = [(trial.number, trial.outcome, trial.epochs, trial.reason or "") for trial in bad]
        parts += ["", text_table(header, rows)]
    return Group(*parts)


def status_text(record: Record, width: int = 100) -> str:
    """Return a search's status as plain text."""
    console = Console(file=io.StringIO(), width=width, emoji=False)
    with console.capture() as captured:
        console.print(render_status(record))
    return captured.get()


def render_report(report: SearchReport) -> RenderableType:
    """Return the end of a search: leaderboard, best configuration, scores, importances."""
    record = report.record
    metric = _metrics(record)
    parts: list[RenderableType] = ["", escape(progress_line(record, summary(record))), ""]
    if record.state == "finished" and record.reason:
        parts[-1:] = [escape(f"ended before its budget of trials: {record.reason}"), ""]
    header = ("trial", metric, "epochs", "configuration")
    if rows := list(leaderboard_rows(record)):
        parts.append(text_table(header, rows, title="leaderboard"))
    parts += _render_front(record)
    if record.final is not None and record.final.is_ranked:
        again = final_rows(record, record.final)
        parts += ["", text_table(HEADER, again, title="the best with new seeds")]
    if report.best is not None:
        parts += ["", _render_best(report, report.best)]
    parts += _render_troubles(record)
    if report.importances and not report.importances_are_rough:
        parts += ["", escape(f"importance: {', '.join(_shares(report))}")]
    return Group(*parts)


def _metrics(record: Record) -> str:
    return ", ".join(each.metric for each in record.spec.all_objectives)


def _render_front(record: Record) -> list[RenderableType]:
    """Return the trials that no other beats in every objective, if there are several."""
    front = record.pareto_front() if record.spec.objectives else []
    if not front:
        return []
    metrics = [each.metric for each in record.spec.objectives]
    rows = []
    for trial in front:
        values = [show(trial.last(metric)) for metric in metrics]
        rows.append((trial.number, *values, _configuration(trial)))
    header = ("trial", *metrics, "configuration")
    return ["", text_table(header, rows, title="Pareto front")]


def _shares(report: SearchReport) -> Iterator[str]:
    """Yield the importance of each hyperparameter, with its interval over resamples."""
    for name, share in report.importances.items():
        ends = report.importance_intervals.get(name)
        told = "" if ends is None else f" ({ends[0]:.0%} to {ends[1]:.0%})"
        yield f"{name} {share:.0%}{told}"


def _render_best(report: SearchReport, best: TrialRecord) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    last = {name: value for name, value in best.curve[best.epochs].items() if name != "seconds"}
    metrics = {name: value for name, value in last.items() if "val_" in name}
    table.add_row("best", f"trial {best.number}")
    for name, value in best.params.items():
        table.add_row("", escape(f"{name}: {show(value)}"))
    table.add_row(*(("validation", _numbers(metrics)) if metrics else ("metrics", _numbers(last))))
    if (gained := gain(report.record)) is not None:
        table.add_row("gain", escape(gained))
    if report.test_metrics:
        table.add_row("test", _numbers(report.test_metrics))
    if (ensemble := ensemble_told(report.record)) is not None:
        table.add_row("ensemble", escape(ensemble))
    return table


def _render_troubles(record: Record) -> list[RenderableType]:
    """Return why there is no best trial, or how many failed and why most of those did so."""
    why = why_no_best(record)
    if why is not None:
        return ["", Text(why, style="red")]
    share = failed_share(record)
    if share is None:
        return []
    if share.is_large:
        return ["", Text(f"warning: {share}", style="bold red")]
    return ["", Text(str(share), style="red")]


def _ended_badly(trial: TrialRecord) -> bool:
    return trial.outcome not in (None, Outcome.COMPLETED, Outcome.STOPPED_EARLY)


def _numbers(metrics: dict[str, float]) -> str:
    return escape(", ".join(f"{name} {show(value)}" for name, value in metrics.items()))


def _configuration(trial: TrialRecord) -> str:
    return ", ".join(f"{name}={show(value)}" for name, value in trial.params.items())

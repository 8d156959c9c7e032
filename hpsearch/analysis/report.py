"""What a search found: the report, for Python users and as files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from hpsearch.analysis import content, markdown, page
from hpsearch.analysis.blocks import Section
from hpsearch.analysis.diagnosis import Diagnosis, diagnoses
from hpsearch.analysis.export import TableFormat, write_tables
from hpsearch.analysis.figures import all_figures
from hpsearch.analysis.frames import curves_frame, trials_frame
from hpsearch.analysis.importance import Importances, importances
from hpsearch.analysis.leaders import LEADERBOARD_SIZE, leaders
from hpsearch.analysis.progress import Progress, summary
from hpsearch.analysis.response import Interaction, Response
from hpsearch.analysis.speed import Reached, reached
from hpsearch.errors import RunsError
from hpsearch.formatting import show_count
from hpsearch.record import EnsembleNote, FinalNote, Record, TrialRecord
from hpsearch.runs import SearchFolder


class SearchReport:
    """What a search found, read from its record when it is asked for.

    Of `targets`, values of the objective, it says how soon the search came to them.
    """

    def __init__(self, record: Record, targets: Sequence[float] = ()) -> None:
        self.record, self._targets = record, targets

    @property
    def name(self) -> str:
        """The search's name."""
        return self.record.name

    @property
    def state(self) -> str:
        """`running`, `finished`, `stopped` or `failed`."""
        return self.record.state

    @property
    def best(self) -> TrialRecord | None:
        """The best of the completed trials."""
        return self.record.best

    @property
    def pareto_front(self) -> list[TrialRecord]:
        """The completed trials that keep all constraints and that no other beats in every
        objective; the best in the first objective leads."""
        return self.record.pareto_front()

    @property
    def progress(self) -> Progress:
        """The numbers of the search: trials by outcome, epochs, seconds."""
        return summary(self.record)

    @property
    def test_metrics(self) -> dict[str, float] | None:
        """What the best trial's model scores on the test split; None if it was not scored."""
        return self.record.result.get("test_metrics")

    @property
    def final(self) -> FinalNote | None:
        """The best configurations with new seeds, ranked by the mean; None without `final`."""
        return self.record.final

    @property
    def ensemble(self) -> EnsembleNote | None:
        """What the mean of the best trials comes to; None without `search.ensemble`."""
        return self.record.ensemble

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial: number, outcome, reason, epochs, objective, seconds, parameters."""
        return trials_frame(self.record)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row a trial and epoch, with a column for every metric."""
        return curves_frame(self.record)

    @property
    def importances(self) -> dict[str, float]:
        """The share of each hyperparameter, the largest first; `importances_note` says of what."""
        return self._importances.shares

    @property
    def importance_intervals(self) -> dict[str, tuple[float, float]]:
        """Nine tenths of each share in resamples of the trials; none of over 500 trials."""
        return self._importances.intervals

    @property
    def importances_are_rough(self) -> bool:
        """Whether they are of so few trials that another search may give others."""
        return self._importances.is_rough

    @property
    def importances_note(self) -> str:
        """How the importances were measured, or why there are none."""
        return self._importances.note

    @cached_property
    def figures(self) -> dict[str, go.Figure]:
        """The pictures: objective, curves, importances, rungs, and `slice:NAME` a parameter; with
        several objectives `pareto:METRIC` over the first."""
        return all_figures(self.record, self._importances, self._response)

    @cached_property
    def diagnoses(self) -> dict[int, list[Diagnosis]]:
        """What the curves say, by the trial's number; `str` of one is a sentence."""
        return diagnoses(self.record)

    @cached_property
    def interactions(self) -> list[Interaction]:
        """Pairs of the most important hyperparameters whose joint effect isn't the sum of theirs,
        the largest first, as far as a model of the trials can tell."""
        return self._response.interactions(list(self._importances.shares))

    def partial_dependence(self, name: str) -> pd.DataFrame | None:
        """Return the expected objective by a hyperparameter: `value`, `mean`, `low`, `high`.

        The others are as trials had them; `low` and `high` hold 90 % of what a model of the trials
        thinks of the mean. None while too few trials were trained in full. Raises KeyError.
        """
        found = self._response.dependence(name)
        if found is None:
            return None
        columns = {"value": found.values, "mean": found.mean, "low": found.low, "high": found.high}
        return pd.DataFrame(columns)

    def reached(self, target: float) -> Reached:
        """Return at which trial, epochs of all trials and seconds the search first came to a value
        of its objective."""
        return reached(self.record, target)

    def leaderboard(self, n: int = LEADERBOARD_SIZE) -> pd.DataFrame:
        """Return the rows of `trials` that lead: completed ones first, then by epochs trained."""
        numbers = [trial.number for trial in leaders(self.record)[:n]]
        return self.trials.iloc[numbers].reset_index(drop=True)

    def export(self, folder: str | Path = ".", form: TableFormat = "csv") -> list[Path]:
        """Write `trials` and `curves` to files named after the search; returns their paths.

        Raises SearchExistsError where there are such files, and RunsError.
        """
        tables = {"trials": self.trials, "curves": self.curves}
        return write_tables(tables, self.name, Path(folder), form)

    def to_markdown(self) -> str:
        """Return the report as Markdown."""
        return markdown.to_markdown(self.name, content.introduction(self.record), self._sections)

    def to_html(self) -> str:
        """Return the report as one page that needs nothing else, with pictures."""
        return page.to_html(self.record, self._sections, self.figures)

    def __repr__(self) -> str:
        best = "none" if self.best is None else f"trial {self.best.number}"
        trials = show_count(len(self.record.trials), "trial")
        return f"<SearchReport {self.name}: {self.state}, {trials}, best {best}>"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    @cached_property
    def _importances(self) -> Importances:
        return importances(self.record)

    @cached_property
    def _response(self) -> Response:
        return Response(self.record)

    @property
    def _sections(self) -> list[Section]:
        return content.sections(self.record, self._importances, self._response, self._targets)


def write_report(record: Record, folder: SearchFolder, targets: Sequence[float] = ()) -> None:
    """Write `report.md` and `report.html` into a search's folder."""
    report = SearchReport(record, targets)
    _write(folder.report_md, report.to_markdown())
    _write(folder.report_html, report.to_html())


def _write(path: Path, text: str) -> None:
    """Write a file at once, so that nobody reads half of it."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise RunsError(f"{path}: can't be written: {error.strerror}") from error

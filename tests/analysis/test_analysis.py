"""What a search found, from its record alone: numbers, importances, pictures, report."""

from __future__ import annotations

import doctest
import json
import math
import random
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest

from hpsearch.analysis import SearchReport, endings, figures, frames, style, summary, write_report
from hpsearch.analysis.leaders import leaders
from hpsearch.analysis.page import tiles_html
from hpsearch.analysis.parallel import parallel_coordinates
from hpsearch.analysis.plain import plain_summary
from hpsearch.errors import RunsError
from hpsearch.live import progress_line
from hpsearch.record import Outcome, Record
from hpsearch.runs import Runs, SearchFolder
from tests.support.records import SPACE, STOPPED, add, make_spec

BRANCHES = {"optimizer": {"choices": [{"name": "sgd", "lr": SPACE["lr"]}, {"name": "adam"}]}}


@pytest.fixture
def new_record(tmp_path: Path) -> Callable[..., Record]:
    def make(*arguments: Any, **keywords: Any) -> Record:
        return Record.create(tmp_path / "record.journal", make_spec(*arguments, **keywords))

    return make


def add_random(record: Record, count: int, score: Callable[[dict[str, Any]], float]) -> None:
    draw = random.Random(0)
    for _ in range(count):
        params = {"lr": 10 ** draw.uniform(-4, 0), "width": draw.choice([64, 128])}
        add(record, [score(params)] * 9, **params)


# ---- what is best, and the frames


def test_full_budget_leads_then_the_longest(new_record: Callable[..., Record]) -> None:
    record = new_record()
    add(record, [0.9], STOPPED)
    add(record, [0.1, 0.2, 0.3], STOPPED)
    add(record, [0.1] * 9)
    add(record, [0.1] * 8 + [0.2])
    add(record, [], Outcome.FAILED, "ValueError")
    assert [trial.number for trial in leaders(record)] == [3, 2, 1, 0]
    assert SearchReport(record).best is record.trials[3]
    assert list(SearchReport(record).leaderboard(2)["number"]) == [3, 2]


def test_frames_of_a_record_read_from_its_file(tmp_path: Path) -> None:
    spec = make_spec(BRANCHES)
    record = Record.create(tmp_path / "record.journal", spec)
    record.add_trial({"optimizer": "sgd", "optimizer.sgd.lr": 0.5})
    record.report(0, 1, {"score": 0.25, "epoch": 77.0})
    record.report(0, 2, {"score": 0.5, "other": 1.0})
    record.end_trial(0, STOPPED, "asha at epoch 2")
    record.add_trial({"optimizer": "adam"})
    report = SearchReport(Record.open(tmp_path / "record.journal", "demo"))
    assert list(report.trials.columns[: len(frames._TRIAL_COLUMNS)]) == list(frames._TRIAL_COLUMNS)
    assert list(report.trials["outcome"]) == ["stopped early", "running"]
    assert report.trials["objective"][0] == 0.5
    assert report.trials["optimizer.sgd.lr"].isna().tolist() == [False, True]
    assert report.curves[["number", "epoch", "score"]].to_numpy().tolist() == [
        [0, 1, 0.25],
        [0, 2, 0.5],
    ]
    assert report.curves["other"].isna().tolist() == [True, False]


def test_a_hyperparameter_never_hides_a_column(new_record: Callable[..., Record]) -> None:
    record = new_record({"epochs": {"low": 1, "high": 5}})
    add(record, [0.5] * 9, epochs=3)
    row = SearchReport(record).trials.iloc[0]
    assert (row["epochs"], row["params.epochs"]) == (9, 3)


# ---- progress


def test_saved_seconds_are_those_of_epochs_without_starts_and_waiting(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    slow = add(record, [0.5, 0.5], STOPPED)
    slow.attempted_at = [1060.0, 1500.0]  # imports took 40 s; paused after epoch 2
    slow.curve |= {3: {"score": 0.5}, 4: {"score": 0.5}}
    slow.reported_at = {1: 1100.0, 2: 1103.0, 3: 1600.0, 4: 1605.0}
    one = add(record, [0.3], STOPPED)
    one.reported_at = {1: 9000.0}
    assert summary(record).seconds_saved == pytest.approx(5 * 4.0 + 8 * 4.0)


def test_a_trial_without_a_worker_waits(new_record: Callable[..., Record]) -> None:
    record = new_record()
    add(record, [0.5], None)
    add(record, [], None)
    progress = summary(record)
    assert (progress.running, progress.waiting) == (1, 1)
    assert "1 running, 1 waiting for 1 CPU, " in progress_line(record, progress)
    plain = plain_summary(record)
    assert (plain["running"], plain["waiting"], plain["waiting_for"]) == (1, 1, "1 CPU")
    assert "1 running, 1 waiting for 1 CPU" in tiles_html(record)


def test_summary_counts_trials_epochs_and_what_was_saved(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    record.created_at, record.sessions = 990.0, [[990.0, None]]
    add(record, [0.5] * 9)
    add(record, [0.4] * 3, STOPPED)
    add(record, [0.3], STOPPED, "time_limit of 5 s reached")
    add(record, [0.2], Outcome.DIVERGED, "score became nan")
    add(record, [], Outcome.FAILED, "ValueError")
    add(record, [0.6], None)
    progress = summary(record, now=1050.0)
    assert (progress.ended, progress.running, progress.planned) == (5, 1, 20)
    assert (progress.completed, progress.stopped_early, progress.failed) == (1, 2, 2)
    assert progress.best is record.trials[0] and progress.best_value == 0.5
    assert progress.epochs_used == 15
    assert progress.epochs_saved == 6  # of the one that ASHA stopped, not of the time limit
    assert progress.seconds_saved == 12.0
    assert progress.seconds_used == 60.0
    assert progress.seconds_left == 15 * 50 / 5


def test_seconds_left_goes_by_the_time_since_the_first_trial(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    # a service's driver starts a while after the search's record was begun
    record.created_at, record.sessions = 900.0, [[900.0, 900.0], [995.0, None]]
    add(record, [0.5] * 9)
    progress = summary(record, now=1020.0)
    assert (progress.seconds_used, progress.seconds_left) == (25.0, 19 * 20.0)


def test_seconds_left_is_unknown_capped_and_zero(new_record: Callable[..., Record]) -> None:
    record = new_record(time_limit=100, epochs=20)
    record.created_at, record.sessions = 1000.0, [[1000.0, None]]
    trial = add(record, [0.5], None)
    assert summary(record, now=1010.0).seconds_left is None
    add(record, [0.5] * 9)
    assert summary(record, now=1010.0).seconds_left == 10.0  # 10 of 20 epochs took 10 s
    assert summary(record, now=1099.0).seconds_left == 1.0
    trial.outcome, record.state, record.ended_at = Outcome.CANCELLED, "stopped", 1020.0
    ended = summary(record, now=9999.0)
    assert (ended.seconds_left, ended.seconds_used, ended.cancelled) == (0.0, 20.0, 1)


def test_before_any_full_budget_there_is_a_leader_but_no_best(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    assert summary(record, now=1.0).leader is None
    add(record, [0.1, 0.2], None)
    progress = summary(record, now=1010.0)
    assert progress.best is None and progress.leader_value == 0.2


# ---- importances


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_importance_finds_what_matters(new_record: Callable[..., Record], direction: str) -> None:
    record = new_record(direction=direction)
    sign = 1 if direction == "maximize" else -1
    add_random(record, 60, lambda params: -sign * (math.log10(params["lr"]) + 2) ** 2)
    shares = SearchReport(record).importances
    assert list(shares) == ["lr", "width"]
    assert shares["lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1.0)


def test_importance_counts_bad_configurations_as_worse(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    draw = random.Random(1)
    for _ in range(60):
        params = {"lr": 10 ** draw.uniform(-4, 0), "width": draw.choice([64, 128])}
        if params["lr"] > 0.01:
            add(record, [], Outcome.DIVERGED, "nan", **params)
        else:
            add(record, [0.5] * 9, **params)
    assert SearchReport(record).importances["lr"] > 0.8


def test_importance_compares_trials_at_one_epoch(new_record: Callable[..., Record]) -> None:
    """Trials improve by the epoch, so newest values would rank them by their length alone."""
    record = new_record()
    draw = random.Random(2)
    for _ in range(60):
        params = {"lr": 10 ** draw.uniform(-4, 0), "width": draw.choice([64, 128])}
        length = 9 if params["width"] == 64 else 3
        loss = abs(math.log10(params["lr"]) + 2)
        add(record, [10 * epoch - loss for epoch in range(1, length + 1)], **params)
    assert SearchReport(record).importances["width"] < 0.01


def test_importances_say_why_there_are_none(tmp_path: Path) -> None:
    def note(name: str, space: Any, count: int, score: float = 0.5) -> str:
        record = Record.create(tmp_path / name, make_spec(space))
        for _ in range(count):
            add(record, [score] * 9, **({"lr": 0.1} if space else {"lr": 0.1, "width": 64}))
        report = SearchReport(record)
        assert report.importances == {}
        return report.importances_note

    lr_only = {"lr": SPACE["lr"]}
    assert "Nothing was searched" in note("a", {"constant": 3}, 30)
    assert "need 10 trials" in note("b", lr_only, 9)
    assert "8 trials reached" in note("c", lr_only, 12, math.nan)
    assert "do not differ" in note("d", lr_only, 12)


def test_conditional_importances_and_what_is_left_out(
    new_record: Callable[..., Record],
) -> None:
    record = new_record(BRANCHES)
    draw = random.Random(3)
    for i in range(40):
        lr = 10 ** draw.uniform(-4, 0)
        sgd = {"optimizer": "sgd", "optimizer.sgd.lr": lr}
        add(record, [lr if i < 3 else 0.5] * 9, **(sgd if i < 3 else {"optimizer": "adam"}))
    report = SearchReport(record)
    assert list(report.importances) == ["optimizer"]
    assert "Too few trials have these hyperparameters: `optimizer.sgd.lr`." in report.to_markdown()
    for _ in range(40):
        lr = 10 ** draw.uniform(-4, 0)
        params = {"optimizer": "sgd", "optimizer.sgd.lr": lr}
        add(record, [-abs(math.log10(lr) + 2)] * 9, **params)
    assert set(SearchReport(record).importances) == {"optimizer", "optimizer.sgd.lr"}


def test_importances_leave_optuna_as_it_was(
    new_record: Callable[..., Record], capfd: pytest.CaptureFixture[str]
) -> None:
    record = new_record()
    add_random(record, 20, lambda params: params["lr"])
    level = optuna.logging.get_verbosity()
    capfd.readouterr()
    assert SearchReport(record).importances
    assert optuna.logging.get_verbosity() == level
    assert capfd.readouterr().err == ""


# ---- pictures


def test_slices_have_the_axis_of_their_range(new_record: Callable[..., Record]) -> None:
    record = new_record()
    add_random(record, 12, lambda params: params["lr"])
    add(record, [], Outcome.FAILED, "ValueError", lr=0.1, width=64)
    pictures = SearchReport(record).figures
    lr = pictures["slice:lr"]
    assert lr.layout.xaxis.type == "log"
    assert lr.layout.xaxis.range[0] == pytest.approx(-4, abs=0.2)
    assert list(pictures["slice:width"].layout.xaxis.ticktext) == ["64", "128"]
    failed = next(trace for trace in lr.data if (trace.name or "").startswith("failed"))
    assert failed.yaxis == "y2"  # it has no value, and says so at the edge
    star = lr.data[-1]
    assert star.x[0] == record.best.params["lr"] and star.y[0] == record.objective(record.best)


def test_best_so_far_follows_the_direction(new_record: Callable[..., Record]) -> None:
    record = new_record(direction="minimize")
    for value in (3.0, 5.0, 2.0):
        add(record, [value] * 9)
    add(record, [0.1], STOPPED)
    line = figures.objective_over_trials(record).data[-1]
    assert (list(line.x), list(line.y)) == ([0, 1, 2, 3], [3.0, 3.0, 2.0, 2.0])


def test_one_huge_loss_does_not_flatten_the_rest(new_record: Callable[..., Record]) -> None:
    record = new_record(direction="minimize")
    for i in range(10):
        add(record, [1.0 + i] * 9)
    add(record, [1e9] * 9)
    picture = figures.objective_over_trials(record)
    low, high = picture.layout.yaxis.range
    assert low < 1.0 and 10.0 < high < 20.0
    assert picture.layout.annotations[0].text.startswith("1 far worse")


def test_parallel_lines_cross_every_axis_with_the_best_on_top(
    new_record: Callable[..., Record],
) -> None:
    record = new_record(BRANCHES, direction="minimize")
    add(record, [0.9] * 9, optimizer="sgd", **{"optimizer.sgd.lr": 1.0})
    add(record, [0.1] * 9, optimizer="sgd", **{"optimizer.sgd.lr": 1e-4})
    add(record, [0.5] * 9, optimizer="adam")
    picture = parallel_coordinates(record, record.space.parameters)
    titles = [title.replace("<br>", "") for title in picture.layout.xaxis.ticktext]
    assert titles == ["optimizer", "optimizer.sgd.lr", "score"]
    leading, lines = picture.data[-1], [y for trace in picture.data for y in trace.y]
    assert list(leading.y) == [0.0, 0.0, 1.0, None]
    assert len([y for y in lines if y is not None and y < 0]) == 1  # of adam, which has no lr
    labels = {(note.x, note.text) for note in picture.layout.annotations}
    assert {(0, "sgd"), (1, "0.0001"), (1, "1"), (1, "none"), (2, "0.1"), (2, "0.9")} <= labels


def test_rungs_tell_the_stopped_from_those_that_went_on(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    add(record, [0.1], STOPPED)
    add(record, [0.2], STOPPED, "time_limit of 5 s reached")
    add(record, [0.3, 0.3, 0.3], STOPPED)
    add(record, [0.4] * 9)
    picture = figures.early_stopping_rungs(record)
    stopped, went_on = picture.data
    assert list(picture.layout.xaxis.ticktext) == ["1", "3", "9 (full)"]
    assert list(stopped.customdata) == [0, 2]
    assert list(went_on.customdata) == [1, 2, 3, 3, 3]


# ---- the report


def fill(record: Record) -> None:
    add_random(record, 30, lambda params: params["lr"])
    add(record, [0.1], STOPPED)
    trial = add(record, [], Outcome.FAILED, "ValueError: a | b <script>alert(1)</script>")
    trial.traceback = "Traceback:\n```\n</script> boom\n"
    add(record, [math.nan], Outcome.DIVERGED, "score became nan at epoch 1")
    record.facts = {"torch": "2.13.0"}
    record.result = {"test_metrics": {"test_score": 0.8125}}
    record.state, record.ended_at = "finished", 1100.0


def test_markdown_says_what_was_found(new_record: Callable[..., Record]) -> None:
    record = new_record()
    fill(record)
    text = SearchReport(record).to_markdown()
    assert text == SearchReport(record)._repr_markdown_()
    assert f"Trial {record.best.number}: `score`" in text
    assert "`test_score` 0.8125" in text
    assert "| torch | 2.13.0 |" in text
    assert "````\nTraceback:\n```\n</script> boom\n````" in text
    assert "hpsearch best demo" in text and "hpsearch next demo > demo-next.yaml" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 10
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table


def test_the_report_tells_trials_that_ended_themselves_from_the_full_budget(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    add(record, [0.5], STOPPED)
    add(record, [0.9] * 4, note="callback early_stopping")
    add(record, [0.4] * 9)
    add(record, [0.3] * 2, note="returned")
    add(record, [0.2] * 5, note="callback early_stopping")
    add(record, [0.1] * 9)
    text = SearchReport(record).to_markdown()
    assert (
        "Trial 1: `score` 0.9 after 4 epochs, the best of 5 that completed: 2 full budget; "
        "2 ended itself, callback early_stopping; 1 ended itself, returned."
    ) in text
    rows = [row.strip("| \n") for row in re.findall(r"^\| [a-z].*\| +\d+ \|\n", text, flags=re.M)]
    assert [re.sub(r" +", " ", row) for row in rows[:4]] == [
        "completed: full budget | 2 | 18",
        "completed: ended itself, callback early_stopping | 2 | 9",
        "completed: ended itself, returned | 1 | 2",
        "stopped early | 1 | 1",
    ]
    assert "| 1 | 0.9 | 4 | completed: ended itself, callback early_stopping |" in text
    assert "ended itself, returned" in style.describe(record, record.trials[3])


class Page(HTMLParser):
    """The tags, their attributes and the scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data


def test_page_stands_alone_and_runs_no_foreign_script(
    new_record: Callable[..., Record],
) -> None:
    record = new_record()
    fill(record)
    text = SearchReport(record).to_html()
    assert "<dt>test score</dt><dd>0.8125</dd>" in text
    page = Page(text)
    assert len(page.scripts) == 3  # plotly.js, the data, our own
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "img")]
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "href" in attrs]
    data = json.loads(page.scripts[1])
    places = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert sorted(places) == sorted(data["figures"])
    assert {"objective", "curves", "importances", "rungs", "slice:lr"} <= set(places)
    pointed = {
        number
        for figure in data["figures"].values()
        for trace in figure["data"]
        for number in trace.get("customdata", [])
    }
    assert {str(number) for number in pointed} == set(data["hover"])
    assert "lr = " in data["hover"]["0"]


@pytest.mark.parametrize(
    "fill_in",
    [
        lambda record: None,
        lambda record: add(record, [], None),
        lambda record: add(record, [0.5], None),
        lambda record: [add(record, [], Outcome.FAILED, "ValueError") for _ in range(5)],
        lambda record: [add(record, [math.nan] * 9) for _ in range(12)],
        lambda record: [add(record, [0.5] * 9) for _ in range(12)],
        lambda record: [add(record, [], STOPPED, "time_limit of 5 s reached")],
        lambda record: [add(record, [], Outcome.CANCELLED)],
    ],
    ids=["empty", "started", "running", "failed", "nan", "equal", "cut off", "cancelled"],
)
@pytest.mark.parametrize("max_epochs", [1, 9])
def test_every_edge_has_a_report(
    new_record: Callable[..., Record], fill_in: Callable[[Record], Any], max_epochs: int
) -> None:
    record = new_record(early_stopping={"name": "asha", "max_epochs": max_epochs})
    fill_in(record)
    report = SearchReport(record)
    assert "# demo" in report.to_markdown()
    assert "</html>" in report.to_html()
    assert len(report.trials) == len(record.trials)
    assert len(report.leaderboard()) <= len(record.trials)
    progress = summary(record, now=2000.0)
    cancelled = progress.outcomes.get(Outcome.CANCELLED, 0)
    assert progress.planned == 20 + cancelled  # whose places others take


def test_nothing_searched_has_a_report(new_record: Callable[..., Record]) -> None:
    record = new_record({"constant": 3})
    for _ in range(12):
        add(record, [0.5] * 9)
        record.trials[-1].params = {}
    text = SearchReport(record).to_markdown()
    assert "Nothing was searched" in text and "0 hyperparameters" in text


def test_many_trials_make_a_small_page(new_record: Callable[..., Record]) -> None:
    record = new_record()
    add_random(record, 2000, lambda params: params["lr"])
    report = SearchReport(record)
    drawn = report.figures["objective"].data[0].customdata
    assert 1000 < len(drawn) <= 1500
    assert record.best.number in drawn
    assert len(report.to_html()) < 5e6
    assert f"The figures show {len(drawn)} of them" in report.to_markdown()


def test_write_report_writes_both_files_and_nothing_else(tmp_path: Path) -> None:
    spec = make_spec()
    folder = Runs(tmp_path).create(spec)
    record = folder.take_over()
    record.end("finished")
    before = set(folder.path.iterdir())
    for _ in range(2):  # writing anew replaces
        write_report(record, folder)
    assert set(folder.path.iterdir()) - before == {folder.report_md, folder.report_html}
    assert folder.report_md.read_text() == SearchReport(record).to_markdown()


def test_a_report_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    record = Record.create(tmp_path / "record.journal", make_spec())
    with pytest.raises(RunsError, match=r"report\.md: can't be written: No such file"):
        write_report(record, SearchFolder(tmp_path / "gone"))


@pytest.mark.parametrize("module", [endings, style])
def test_examples_in_docstrings(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed

"""Records that users' code wrote: refused as a whole, in bounded time, and nobody else is hurt."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpsearch.errors import RecordError, UnsafeFileError
from hpsearch.outcome import CheckWarning
from hpsearch.record import untrusted
from hpsearch.record.untrusted import UntrustedJournal
from hpsearch.runs import Runs
from hpsearch.service.cache.records import Records
from hpsearch.service.search_files import SearchFiles
from tests.support.replacements import REPLACEMENTS
from tests.support.specs import make_spec
from tests.support.team import API, Team

PARAMS = {"model.dropout": 0.1, "optimizer": "sgd", "optimizer.sgd.lr": 0.1, "batch_size": 32}


def deep(journal: Path) -> None:
    journal.write_text("[" * 100_000 + "]" * 100_000 + "\n")


def no_json(journal: Path) -> None:
    journal.write_bytes(b"\x00\xff garbage\n" * 1000)


def no_mapping(journal: Path) -> None:
    journal.write_text("[1]\n")


def one_long_line(journal: Path) -> None:
    journal.write_bytes(b'"' + b"x" * 5_000_000)


def sparse(journal: Path) -> None:
    os.truncate(journal, 1_500_000_000)


def unknown_operation(journal: Path) -> None:
    journal.write_text('{"op_code": 77, "worker_id": "x"}\n')


def huge_number(journal: Path) -> None:
    journal.write_text('{"op_code": ' + "9" * 5000 + "}\n")


def another_study(journal: Path) -> None:
    entry = {"op_code": 0, "worker_id": "x", "study_name": "other", "directions": [1]}
    journal.write_text(json.dumps(entry) + "\n")


def raw_surrogates(journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b'{"op_code": 2, "worker_id": "\xed\xa0\x80", "study_id": 0}\n')


GARBAGE = [
    deep,
    no_json,
    no_mapping,
    one_long_line,
    sparse,
    unknown_operation,
    huge_number,
    another_study,
    raw_surrogates,
]


def attribute(of: str, key: str, value: Any) -> Callable[[Path], None]:
    """Return what sets an attribute of the study or of its first trial."""

    def write(journal: Path) -> None:
        op_code, place = (2, "study_id") if of == "study" else (8, "trial_id")
        entry = {"op_code": op_code, "worker_id": "x", place: 0, "user_attr": {key: value}}
        with journal.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    write.__name__ = f"{of}.{key}={value!r:.30}"
    return write


WRONG_VALUES = [
    *(attribute("study", "state", value) for value in (None, 7, "odd", ["running"])),
    *(attribute("study", "sessions", value) for value in ([], [[1]], [["a", "b"]], {})),
    *(attribute("study", "reason", value) for value in (7, ["x"])),
    *(attribute("study", "ended_at", value) for value in (-1, float("nan"), 1e300, "x")),
    *(attribute("study", "spec", value) for value in (None, {}, {"name": 7}, "x")),
    *(attribute("study", "facts", value) for value in (None, [])),
    *(attribute("trial", "values", value) for value in (None, [1])),
    *(attribute("trial", "attempted_at", value) for value in ([float("inf")], 7, ["x"])),
    *(attribute("trial", "errors", value) for value in ([1], [{"reason": 1}])),
    *(attribute("trial", "warnings", value) for value in ([1], "x")),
    *(attribute("trial", "checkpoint", value) for value in (7, ["x"])),
    *(attribute("trial", key, {"metrics": {}, "at": 1.0}) for key in ("epoch:x", "epoch:-1")),
    attribute("trial", "epoch:" + "9" * 30, {"metrics": {}, "at": 1.0}),
    *(attribute("trial", "epoch:1", value) for value in (None, {"metrics": {"a": "b"}, "at": 1})),
    attribute("trial", "epoch:1", {"metrics": {"a": 1.0}, "at": -5}),
    *(attribute("trial", "end", value) for value in (None, {"outcome": "odd"})),
]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A record with one trial."""
    folder = Runs(tmp_path).create(make_spec())
    folder.take_over().add_trial(PARAMS)
    return folder.journal


@pytest.mark.parametrize("write", [*GARBAGE, *WRONG_VALUES], ids=lambda write: write.__name__)
def test_a_record_that_no_driver_wrote_is_refused(
    journal: Path, write: Callable[[Path], None]
) -> None:
    kept = Records(SearchFiles(journal.parent.parent))
    before, _ = kept.read("small")
    assert len(before.trials) == 1
    write(journal)
    for _ in range(2):
        with pytest.raises(RecordError, match="can't be read|no complete record"):
            kept.read("small")
    with pytest.raises(RecordError):
        Records(SearchFiles(journal.parent.parent)).read("small")


def test_a_record_that_takes_too_long_is_refused(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrusted, "MAX_SECONDS", 0.002)
    for number in range(3000):  # Optuna copies all attributes for each one more
        attribute("trial", f"x{number}", 0)(journal)
    with pytest.raises(RecordError, match="takes too long to read"):
        Records(SearchFiles(journal.parent.parent)).read("small")


def test_a_record_that_took_long_is_left_alone_for_longer(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    source = SearchFiles.record_place

    def counted(self: SearchFiles, name: str) -> UntrustedJournal | str:
        opened.append(name)
        return source(self, name)

    monkeypatch.setattr(SearchFiles, "record_place", counted)
    kept = Records(SearchFiles(journal.parent.parent))
    no_json(journal)
    with pytest.raises(RecordError):
        kept.read("small")
    no_mapping(journal)  # it was cheap, so that another one is looked at
    with pytest.raises(RecordError):
        kept.read("small")
    assert len(opened) == 2
    monkeypatch.setattr("hpsearch.service.cache.records.CHEAP_S", -1.0)
    monkeypatch.setattr("hpsearch.service.cache.records.REST", 1e9)
    for _ in range(2):
        no_json(journal)
        with pytest.raises(RecordError):
            kept.read("small")
    assert len(opened) == 3


def test_halves_of_surrogate_pairs_are_replaced(journal: Path) -> None:
    told = {"check": "\ud800 half", "message": "😀 whole", "severity": "warning"}
    attribute("trial", "warnings", [told])(journal)
    record, _ = Records(SearchFiles(journal.parent.parent)).read("small")
    assert record.trials[0].warnings == [CheckWarning("\ufffd half", "😀 whole")]


def test_what_a_folder_says_of_a_database_is_not_believed(journal: Path) -> None:
    folder = journal.parent
    journal.unlink()
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text() + "storage: postgresql://elsewhere/records\n")
    files = SearchFiles(folder.parent)
    assert not files.has("small")
    assert isinstance(files.record_place("small"), UntrustedJournal)
    assert SearchFiles(folder.parent, "postgresql://ours/x").record_place("small") == (
        "postgresql://ours/x"
    )


READING = [
    "",
    "/status",
    "/trials",
    "/trials?order=leaders",
    "/curves",
    "/diagnoses",
    "/targets?target=0.5",
    "/logs",
    "/logs?trial=0",
    "/report",
    "/report?form=html",
    "/best",
    "/model",
]


@pytest.fixture
def broken(team: Team, request: pytest.FixtureRequest) -> Iterator[Team]:
    """A service with a search that is whole, and one in whose place the parameter lies."""
    team.add_finished("whole")
    team.add_finished("broken")
    request.param(team.service.runs.search("broken").journal)
    yield team


def expect_others_unhurt(team: Team) -> None:
    """The list and the other search answer as ever, and all of the broken one answers somehow."""
    listed = team.viewer.get(f"{API}/searches")
    assert [each["name"] for each in listed.json()["searches"]] == ["broken", "whole"]
    for path in READING:
        assert team.viewer.get(f"{API}/searches/whole{path}").status_code == 200, path
        answer = team.viewer.get(f"{API}/searches/broken{path}")
        assert answer.status_code in (200, 404, 409, 503), (path, answer.text)
        assert "SECRET" not in answer.text
    assert team.anyone.get("/health").status_code == 200


@pytest.mark.parametrize(
    "broken", [deep, sparse, WRONG_VALUES[0]], ids=lambda write: write.__name__, indirect=True
)
def test_a_broken_record_hurts_no_other_search(broken: Team) -> None:
    expect_others_unhurt(broken)
    broken.service.reconciler().step()
    assert broken.service.table.get("whole").actual == "finished"


@pytest.mark.parametrize(
    ("file", "replace"),
    [
        *(("driver.log", replace) for replace in REPLACEMENTS),
        *(("record.journal", replace) for replace in REPLACEMENTS[:4]),
        *((file, REPLACEMENTS[0]) for file in ("outputs", "spec.yaml")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_replaced_file_hurts_no_other_search(
    team: Team,
    file: str,
    replace: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(os.getcwd())
    team.add_finished("whole")
    team.add_finished("broken")
    path = team.service.runs.search("broken").path / file
    path.unlink(missing_ok=True)
    replace(path)
    expect_others_unhurt(team)


def test_a_replaced_checkpoint_is_not_handed_out(team: Team) -> None:
    team.add_finished("done")
    best = team.service.runs.search("done").checkpoints / "trial-2" / "3.pt"
    assert team.ann.get(f"{API}/searches/done/model").content == b"weights"
    secret = team.service.runs.path / "secret"
    secret.write_text("SECRET")
    best.unlink()
    best.symlink_to(secret)
    answer = team.ann.get(f"{API}/searches/done/model")
    assert (answer.status_code, "SECRET" in answer.text) == (409, False)
    for outside in ("../../../secret", "/etc/passwd", "a//b"):
        with pytest.raises(UnsafeFileError):
            team.service.files.checkpoint("done", outside)

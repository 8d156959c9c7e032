"""No command and no route of the service unpickles what others put into a search's files."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from hpsearch.cli import app
from hpsearch.errors import RunsError, UserCodeError
from hpsearch.service.core import Service
from hpsearch.service.database.search_table import SearchRow
from hpsearch.service.settings import Settings
from hpsearch.training.checkpoints import CheckpointStore, load_checkpoint, load_state
from tests.support.team import API, Team
from tests.support.whole import Search


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def _saved(state: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, **options)
    return file.getvalue()


def _archive(canary: Path) -> bytes:
    """A file of torch's whose pickle is longer than what it is made of, and whole."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"epoch": 3, "trainer": Evil(canary)}))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


#: the ways in which code is hidden in a file that torch loads, or another program
FORMS: dict[str, Callable[[Path], bytes]] = {
    "the state": lambda canary: _saved({"epoch": 3, "metrics": {}, "trainer": Evil(canary)}),
    "an older form of torch's": lambda canary: _saved(
        {"epoch": 3, "trainer": Evil(canary)}, _use_new_zipfile_serialization=False
    ),
    "another protocol": lambda canary: _saved(
        {"epoch": 3, "trainer": [Evil(canary)]}, pickle_protocol=5
    ),
    "an archive of their own": _archive,
    "a plain pickle": lambda canary: pickle.dumps({"epoch": 3, "trainer": Evil(canary)}),
    "a key": lambda canary: _saved({"epoch": 3, "trainer": {(1, Evil(canary)): 1}}),
    "an array": lambda canary: _saved(
        {"epoch": 3, "trainer": np.array([Evil(canary)], dtype=object)}
    ),
}


in_all_forms = pytest.mark.parametrize("poisoned", FORMS, indirect=True)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture(params=["the state"])
def poisoned(request: pytest.FixtureRequest, search: Search, canary: Path) -> Search:
    """A search of which every file that could hold a pickle holds one, in one of the forms."""
    content = FORMS[request.param](canary)
    (search.folder.path / "driver.log").write_text("a line\n")
    for file in search.folder.path.rglob("*.pt"):
        file.write_bytes(content)
    extra = ("ray/tuner.pkl", "ray/trainable.pkl", "ray/x/params.pkl", "outputs/trial-0001.pkl")
    checkpoints = ("checkpoints/trial-0009/epoch-0001.pt", "checkpoints/trial-0001/x.pkl")
    for name in (*extra, *checkpoints, "record.journal.snapshot", "model.joblib", "__init__.pkl"):
        path = search.folder.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for file in search.place.artifacts.rglob("*.pth"):
        file.write_bytes(content)
    return search


@in_all_forms
def test_the_canary_is_touched_by_a_plain_load(poisoned: Search, canary: Path) -> None:
    """The files do what the others show to be not done."""
    [file] = (poisoned.folder.checkpoints / "trial-0001").glob("epoch-*.pt")
    try:
        torch.load(file, weights_only=False)
    except RuntimeError:  # torch takes this one for another form
        pickle.loads(file.read_bytes())
    assert canary.exists()


@pytest.mark.parametrize(
    ("command", "status"),
    [
        *((["report", "small"], 0), (["status", "small"], 0), (["best", "small"], 0)),
        *((["best", "small", "--output", "json"], 0), (["list"], 0), (["logs", "small"], 0)),
        *((["logs", "small", "--trial", "1"], 0), (["check", "small"], 1), (["gc"], 0)),
        *((["gc", "--dry-run"], 0), (["sync", "small"], 0)),
        (["download", "small", "--to", "here"], 1),
    ],
)
def test_no_command_unpickles(
    poisoned: Search,
    canary: Path,
    command: list[str],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*command, "--runs", str(poisoned.place.path)])
    assert (done.exit_code, done.exception) in ((status, None), (status, done.exception))
    assert not canary.exists()


@in_all_forms
def test_check_tells_of_it(poisoned: Search, canary: Path) -> None:
    rules = ("must hold tensors, arrays and plain values only", "must be a readable checkpoint")
    problems = [each for each in poisoned.check().problems if "epoch-0003.pt" in each]
    assert len(problems) == 1
    assert any(rule in problems[0] for rule in rules)
    assert not canary.exists()


@pytest.fixture
def client(poisoned: Search, tmp_path: Path) -> Iterator[TestClient]:
    """A service whose runs folder that is; who looks is signed in."""
    database = f"sqlite:///{tmp_path / 'service.db'}"
    service = Service(Settings(poisoned.place.path, database, "http://127.0.0.1:1"))
    spec = poisoned.folder.open_record().spec.to_yaml()
    service.table.add(SearchRow("small", "ann", spec, desired="running", actual="finished"))
    client = TestClient(Team(service).app, headers={"Sec-Fetch-Site": "same-origin"})
    token = service.tokens.create("vic", "viewer")
    client.post("/sign-in", data={"token": token})
    client.headers["Authorization"] = f"Bearer {token}"
    yield client
    service.close()


def test_no_route_unpickles(client: TestClient, canary: Path) -> None:
    asked = 0
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if "get" in methods and path != f"{API}/events" and "{code_hash}" not in path:
            answer = client.get(path.replace("{name}", "small"), params={"target": 0.5})
            assert answer.status_code in (200, 403, 503), (path, answer.text)
            asked += 1
    assert asked > 12
    for path in ("/", "/searches/small", "/searches/small/figures", "/searches/small/dashboard"):
        assert client.get(path).status_code == 200
    assert client.get(f"{API}/searches/small/logs?trial=1").status_code == 200
    assert not canary.exists()


@in_all_forms
def test_no_trial_goes_on_from_it(poisoned: Search, canary: Path) -> None:
    """Nor does a driver take the best model from it: both read checkpoints by this."""
    [file] = (poisoned.folder.checkpoints / "trial-0001").glob("epoch-*.pt")
    with pytest.raises(RunsError, match=r"epoch-0003\.pt: must hold tensors, arrays and plain"):
        load_checkpoint(file)
    assert not canary.exists()


@pytest.mark.parametrize(
    "state",
    [
        {"net": {"weight": torch.ones(2)}, "numbers": [1, 2.5, None, "é", b"x", True]},
        {"numpy": np.random.get_state(), "python": random.getstate()},
        {
            "a": np.ones((2, 3), np.float16),
            "b": np.int64(3),
            "c": np.array(["x"]),
        },
        {"when": np.datetime64("2026-11-27"), "any": np.array([None, "x"], dtype=object)},
        torch.optim.Adam([torch.nn.Parameter(torch.ones(1))]).state_dict(),
        {"mine": pickle.dumps(Path("x"))},  # which the user's own code unpickles
    ],
)
def test_what_only_holds_data_is_saved_and_loaded(state: object, tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path, 0).save(1, {"epoch": 1, "trainer": state})
    assert repr(load_checkpoint(path)["trainer"]) == repr(state)


@pytest.mark.parametrize(
    ("state", "name"),
    [(torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"), (Path("x"), "pathlib")],
)
def test_what_could_not_be_loaded_is_not_saved(state: object, name: str, tmp_path: Path) -> None:
    """It is told before an epoch is lost by it."""
    with pytest.raises(UserCodeError, match=rf"plain values only.*{name}.*state_dict"):
        CheckpointStore(tmp_path, 0).save(1, {"epoch": 1, "trainer": state})
    assert not list(tmp_path.rglob("*.pt"))


def test_a_state_of_a_training_function_is_checked_as_it_is_saved() -> None:
    with pytest.raises(RunsError, match="a checkpoint: must hold"):
        load_state(io.BytesIO(_saved(Path("x"))))

"""The check of a spec at its submission, of hostile ones too."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from hpsearch.errors import SpecError
from hpsearch.service.checks import child
from hpsearch.service.checks.submission import Checks, LocalRunner
from hpsearch.service.confinement.workers import WorkerUser
from hpsearch.spec import load_yaml, read_text
from hpsearch.spec.units import parse_duration, parse_size
from hpsearch.untrusted_files import remove_below
from hpsearch.validation import check
from tests.support.breaking import TRAIN
from tests.support.cli import FIVE_MISTAKES
from tests.support.polling import wait_until

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
SPEC = """
name: mine
objective: {metric: score}
trainable: train.py:train
space: {x: {low: 0.0, high: 1.0}}
"""


def check_submission(
    text: str, folder: Path, data_folders: tuple[Path, ...] = (), user: str | None = None
) -> dict[str, Any]:
    """Check a spec as a service does, whose own user is `user`."""
    reader = LocalRunner(WorkerUser.of(user), (folder, *data_folders))
    return asyncio.run(Checks(reader, None, data_folders).check("ann", text, folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return folder


def test_a_good_spec_comes_back_resolved(folder: Path) -> None:
    spec = check_submission(SPEC, folder)
    assert spec["name"] == "mine"
    assert spec["search"]["early_stopping"]["name"] == "asha"


def test_mistakes_are_told_as_validate_does(folder: Path) -> None:
    with pytest.raises(SpecError) as told:
        check_submission(FIVE_MISTAKES, folder)
    with pytest.raises(SpecError) as validated:
        check(read_text(FIVE_MISTAKES, "spec", folder))
    assert str(told.value) == str(validated.value)
    assert len(told.value.problems) >= 5


def spy(folder: Path, code: str) -> dict[str, Any]:
    """What code of a user's finds out where its spec is checked: the value of `found`."""
    source = f"import json, os\nfound = {{}}\n{code}\nraise ValueError('#' + json.dumps(found))\n"
    (folder / "train.py").write_text(source)
    with pytest.raises(SpecError) as told:
        check_submission(SPEC, folder)
    found: dict[str, Any] = json.loads(str(told.value).partition("#")[2])
    return found


def test_user_code_sees_nothing_of_the_services_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    found = spy(folder, "found |= {'names': sorted(os.environ), 'home': os.environ['HOME']}")
    assert "PATH" in found["names"]
    assert not {"DATABASE_PASSWORD", "RAY_AUTH_TOKEN"} & set(found["names"])
    assert found["home"] != str(Path.home())
    assert not Path(found["home"]).exists()  # a folder of its own, for as long as it ran


@needs_root
def test_user_code_leaves_others_processes(folder: Path) -> None:
    found = spy(
        folder, "import resource\nfound['limit'] = resource.getrlimit(resource.RLIMIT_NPROC)"
    )
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert 0 < found["limit"][0] == found["limit"][1] <= most // 2


@needs_root
def test_user_code_reaches_nothing_of_the_services(folder: Path) -> None:
    state = folder.parent / ".service"
    state.mkdir(mode=0o700)
    (state / "service.db").write_text("secret")
    (folder.parent / "secret").write_text("secret")
    (folder.parent / "secret").chmod(0o600)
    (folder.parent / "searches").mkdir()
    places = [str(state / "service.db"), str(folder.parent / "secret")]
    found = spy(
        folder,
        f"""
def outcome(act, *arguments):
    try:
        act(*arguments)
        return "done"
    except OSError as error:
        return type(error).__name__

found["read"] = [outcome(open, path) for path in {places!r}]
found["write"] = [outcome(open, path, "w") for path in {places!r}]
found["beside"] = outcome(open, {str(folder.parent / "searches" / "new")!r}, "w")
found["code"] = outcome(open, {str(folder / "train.py")!r}, "a")
found["environment"] = outcome(open, "/proc/{os.getpid()}/environ", "rb")
found["signal"] = outcome(os.kill, {os.getpid()}, 0)
found["ids"] = [os.getresuid(), os.getresgid(), os.getgroups()]
""",
    )
    assert set(found["read"] + found["write"]) <= {"PermissionError", "FileNotFoundError"}
    for what in ("beside", "code", "environment", "signal"):
        assert found[what] in ("PermissionError", "FileNotFoundError"), what
    user = WorkerUser.of(None)
    assert found["ids"] == [[user.uid] * 3, [user.gid] * 3, []]


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("dataset: {{name: '{}'}}\nmodel: mlp", "os:system"),
        ("model: {{name: mlp, activation: '{}'}}", "subprocess:getoutput"),
    ],
)
def test_no_component_comes_from_pythons_own_library(
    folder: Path, section: str, name: str
) -> None:
    lines = [*SPEC.splitlines()[:3], section.format(name), "optimizer: sgd"]
    with pytest.raises(SpecError, match=f"{name}.*must be your own code or a package's"):
        check_submission("\n".join(lines), folder)


FORGED = [
    {"spec": {"name": "mine", "tracking_uri": "http://evil"}, "problems": []},
    {"spec": {"name": "another", "objective": {"metric": "x"}}, "problems": []},
    {"spec": {**yaml.safe_load(SPEC), "trainable": "/etc/code.py:train"}, "problems": []},
    {"spec": {**yaml.safe_load(SPEC), "trainable": "other.py:train"}, "problems": []},
    {"spec": {**yaml.safe_load(SPEC), "search": {"trials": 10**9}}, "problems": []},
    {"spec": None, "problems": []},
    {"spec": 7, "problems": [7]},
    [1],
]


class Forger:
    """Answers what users' code makes the program say."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def run(self, request: bytes, timeout_s: float) -> bytes:
        return self._answer


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
def test_a_forged_answer_is_refused(folder: Path, forged: Any) -> None:
    checks = Checks(Forger(json.dumps(forged).encode()), None)
    with pytest.raises(SpecError):
        asyncio.run(checks.check("ann", SPEC, folder))


def test_code_can_forge_an_answer(folder: Path) -> None:
    source = f"""
import os
for descriptor in range(3, 50):
    try:
        os.write(descriptor, {json.dumps(FORGED[0]).encode()!r})
    except OSError:
        pass
os._exit(0)
"""
    (folder / "train.py").write_text(source)
    with pytest.raises(SpecError, match="tracking_uri: must not be given"):
        check_submission(SPEC, folder)


ESCAPING = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)  # {marker}"]
subprocess.Popen(sleep)
subprocess.Popen(sleep, start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sleep[0], sleep)
    os._exit(0)
{end}
"""


def left_of(marker: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(marker in each for each in process.info["cmdline"] or ())
    ]


@pytest.mark.parametrize(
    "end", ["os._exit(7)", "def train(config, trial): ...", "raise ValueError"]
)
def test_nothing_that_a_check_started_outlives_it(folder: Path, end: str) -> None:
    marker = f"left-by-{os.getpid()}-{abs(hash(end))}"
    (folder / "train.py").write_text(ESCAPING.format(marker=marker, end=end))
    with suppress(SpecError):
        check_submission(SPEC, folder)
    assert left_of(marker) == []


def test_a_check_that_nobody_waits_for_ends_with_all_that_it_started(folder: Path) -> None:
    marker = f"left-by-{os.getpid()}-hanging"
    end = "time.sleep(600)"
    (folder / "train.py").write_text(ESCAPING.format(marker=marker, end=end))
    checks = Checks(LocalRunner(WorkerUser.of(None), (folder,)), None)

    async def hang_up() -> None:
        checking = asyncio.create_task(checks.check("ann", SPEC, folder))
        await asyncio.to_thread(wait_until, lambda: len(left_of(marker)) >= 3 or checking.done())
        assert not checking.done()
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking

    asyncio.run(asyncio.wait_for(hang_up(), 60))
    assert left_of(marker) == []


def test_a_check_ends_in_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpsearch.service.checks.submission.TIMEOUT_S", 0.5)
    (folder / "train.py").write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(SpecError, match="must be checked within 0.5 s"):
        check_submission(SPEC, folder)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_code_that_prints_without_end_is_ended(folder: Path, stream: str) -> None:
    source = f"import sys\nwhile True:\n    sys.{stream}.write('x' * 100_000)\n"
    (folder / "train.py").write_text(source)
    with pytest.raises(SpecError, match=r"must print at most [\d,]+ bytes"):
        check_submission(SPEC, folder)


def test_user_code_that_ends_the_process_is_one_problem(folder: Path) -> None:
    (folder / "train.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(SpecError, match=r"the check ended without a result \(exit status 7\)"):
        check_submission(SPEC, folder)


def test_a_spec_reaches_nothing_outside(folder: Path) -> None:
    lines = """
tracking_uri: sqlite:////tmp/x.db
storage: postgresql://elsewhere/x
trainable: ../../other/train.py:train
model: {name: "/etc/model.py:make"}
dataset: {name: csv, path: ../../secret.csv, target: x}
search: {warm_start: [../../x]}
"""
    kept = [line for line in SPEC.splitlines() if not line.startswith("trainable")]
    with pytest.raises(SpecError) as told:
        check_submission("\n".join(kept) + lines, folder)
    places = {problem.path for problem in told.value.problems}
    outside = {"trainable", "model.name", "dataset.path", "search.warm_start.0"}
    assert {"tracking_uri", "storage"} | outside <= places


def test_a_warm_start_names_its_searches(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"^search\.warm_start: must name searches here"):
        check_submission(SPEC + "\nsearch: {warm_start: auto}\n", folder)


def test_shared_data_may_be_read(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "table.csv").write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(100)))
    text = f"""
name: shared
objective: {{metric: val_accuracy}}
dataset: {{name: csv, path: {data / "table.csv"}, target: y}}
model: mlp
optimizer: {{name: sgd, lr: {{low: 0.01, high: 0.1}}}}
"""
    assert check_submission(text, folder, (data,))["name"] == "shared"
    with pytest.raises(SpecError, match="must be a file inside the uploaded folder"):
        check_submission(text, folder)


BILLION = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (BILLION, "at most 20,000 values"),
        ("[" * 3000 + "]" * 3000, "nested at most 50 deep"),
        ("{a: " * 3000 + "}" * 3000, "nested at most 50 deep"),
        ("name: " + "x" * 300_000, "at most 256,000 characters"),
        ("name: " + "x" * 200_000, "a text must have at most 20,000 characters .at line 1"),
        ("x: [" + "1," * 20_000 + "]", "a list or mapping must have at most 2,000 entries"),
        ("".join(f"k{i}: 1\n" for i in range(20_000)), "at most 2,000 entries"),
        ("x: 1" + ":59" * 5_000, "a number must have at most 100 characters .at line 1; quote"),
        ("x: " + "9" * 5_000, "a number must have at most 100 characters"),
        (f"search: {{time_limit: {'9' * 16_000}s}}", "a number must have at most 100 characters"),
        ("name: !!python/object/apply:os.system ['true']", "must be YAML"),
        ("name: 2001-99-99", "must be YAML"),
        ("name: [", "must be YAML"),
        ("a: &a [*a]", "must be"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("name: a\nname: b", "comes twice"),
    ],
)
def test_hostile_yaml_is_one_clear_error(text: str, rule: str) -> None:
    began = time.process_time()
    with pytest.raises(SpecError, match=rule):
        check(read_text(text, "spec", "."))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("read", [parse_duration, parse_size])
@pytest.mark.parametrize("text", ["9" * 10**6, "1s" * 10**6 + "!", " " * 10**6, "1.5" * 10**6])
def test_no_duration_or_size_takes_long_to_refuse(
    read: Callable[[object], object], text: str
) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="must be (seconds|bytes)"):
        read(text)
    assert time.process_time() - began < 1


def test_many_choices_that_differ_deep_inside_are_compared_in_linear_time() -> None:
    choices = [[[i]] for i in range(2_000)]
    text = yaml.safe_dump(
        {"name": "a", "objective": {"metric": "m"}, "space": {"x": {"choices": choices}}}
    )
    began = time.process_time()
    read_text(text, "spec", ".")
    assert time.process_time() - began < 5


def test_aliases_are_still_allowed() -> None:
    text = "a: &a {low: 0, high: 1}\nb: {<<: *a, log: true}\n"
    assert load_yaml(text)["b"] == {"low": 0, "high": 1, "log": True}


def test_the_check_leaves_no_files(folder: Path) -> None:
    check_submission(SPEC, folder)
    assert os.listdir(folder) == ["train.py"]


def test_no_other_answer_waits_for_files_of_users_to_be_removed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed_in: list[threading.Thread] = []

    def remove(root: Path, *parts: str) -> None:
        removed_in.append(threading.current_thread())
        remove_below(root, *parts)

    monkeypatch.setattr(child, "remove_below", remove)
    make = (
        "import os, tempfile\nos.chdir(tempfile.mkdtemp())\n"
        "for _ in range(2000):\n    os.mkdir('below')\n    os.chdir('below')\n"
    )
    (folder / "train.py").write_text(make + TRAIN)
    check_submission(SPEC, folder)
    assert removed_in and threading.main_thread() not in removed_in

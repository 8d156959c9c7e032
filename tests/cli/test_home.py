"""Users without an entry in the system's list, without HOME, or with one they can't write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpsearch.errors import RunsError
from hpsearch.home import home_settings, private_folder
from tests.support.cli import SPEC

UID = 54321
_WITHOUT = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CONFIG_HOME")
CLUSTER = """
import os, ray
from hpsearch.spec import Resources
from hpsearch.tuning.on_ray.cluster import ray_cluster
with ray_cluster(None) as cluster:
    cluster.slots(Resources(), None)  # waits for it
    print(ray.get(ray.remote(lambda: 6 * 7).remote()), os.environ["HOME"])
"""


class Stranger:
    """Runs commands as a user whom the system doesn't know, in a folder of theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        for path in (folder, self.temporary):
            os.chown(path, UID, UID)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        # The interpreter may lie in a folder of root's, so others' files may be read here.
        able = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        user = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        known = {name: value for name, value in os.environ.items() if name not in _WITHOUT}
        # Ray's sockets have paths of a limited length.
        places = {"TMPDIR": str(self.temporary), "RAY_TMPDIR": "/tmp"}
        return subprocess.run(
            ["setpriv", *user, *able, sys.executable, *command],
            cwd=self.folder,
            env=known | places | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def hpsearch(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "hpsearch.cli", *arguments, **environment)


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv, to be another user")
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are root's alone
        yield Stranger(Path(folder))


def test_a_search_runs_without_a_name_and_a_home(stranger: Stranger) -> None:
    (stranger.folder / "tiny.yaml").write_text(SPEC)
    assert stranger.hpsearch("list").stdout == "no searches\n"
    ran = stranger.hpsearch("run", "tiny.yaml", "--set", "search.trials=1")
    assert ran.returncode == 0, ran.stderr
    assert "1/1 trial," in ran.stdout
    home = stranger.temporary / f"hpsearch-{UID}"
    assert (home / ".ray" / "auth_token").is_file()
    assert home.stat().st_mode & 0o777 == 0o700
    checked = stranger.hpsearch("check", "tiny")
    assert "tiny: 0 problems" in checked.stdout, checked.stdout + checked.stderr


def test_ray_starts_for_a_user_whose_home_cannot_be_written(stranger: Stranger) -> None:
    done = stranger.run("-c", CLUSTER, HOME="/")  # as Docker says to any uid
    assert done.stdout == "42 /\n", done.stderr
    assert (stranger.temporary / f"hpsearch-{UID}" / "ray_token").is_file()


@pytest.mark.soak
def test_ray_starts_for_a_user_whose_home_is_a_file(stranger: Stranger) -> None:
    home = stranger.folder / "file"
    home.touch()
    done = stranger.run("-c", CLUSTER, HOME=str(home))
    assert done.stdout == f"42 {home}\n", done.stderr


def test_what_cannot_be_written_is_named(stranger: Stranger, tmp_path: Path) -> None:
    (stranger.folder / "tiny.yaml").write_text(SPEC)
    place = tmp_path / "of-root"
    place.mkdir()
    done = stranger.hpsearch("run", "tiny.yaml", RAY_TMPDIR=str(place))
    assert done.returncode == 2
    assert "Ray can't be started on this machine" in done.stderr
    assert str(place) in done.stderr
    done = stranger.hpsearch("list", TMPDIR=str(stranger.temporary), HOME=str(place))
    assert done.returncode == 0, done.stderr
    write = "from hpsearch.cli.login import write_login; write_login('http://here', 'token')"
    done = stranger.run("-c", write, HOME=str(place))
    assert f"{place}/.config/hpsearch/login.json: can't be written" in done.stderr


def test_a_usual_user_s_environment_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("USER", "somebody")
    assert home_settings() == {}


def test_a_folder_that_others_may_write_is_no_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert private_folder() == private_folder() == tmp_path / f"hpsearch-{os.getuid()}"
    private_folder().chmod(0o777)
    with pytest.raises(RunsError, match="must be a private folder of this user; set HOME"):
        private_folder()
    path = tmp_path / f"hpsearch-{os.getuid()}"
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(RunsError, match="must be a private folder of this user"):
        private_folder()

"""What a script imports: quick, and of no effect outside a search."""

from __future__ import annotations

import selectors
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import hpsearch
from hpsearch import reporting
from hpsearch.training.command.epochs import ScriptReport
from hpsearch.training.command.server import ReportServer


def test_outside_a_search_nothing_happens(tmp_path: Path) -> None:
    assert not reporting.is_trial()
    hpsearch.report({"val/loss": 1.0}, epoch=1, accuracy="no number", on_stop="raise")
    assert hpsearch.checkpoint_dir(tmp_path / "mine") == tmp_path / "mine"
    assert (tmp_path / "mine").is_dir()


def test_a_script_imports_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import hpsearch; hpsearch.report;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "['hpsearch']"


@pytest.mark.parametrize(
    ("name", "value"),
    [("epoch", -1), ("epoch", 1.5), ("step", True), ("epoch", "one"), ("step", float("inf"))],
)
def test_an_epoch_is_a_whole_number(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(reporting.SOCKET, "/nowhere")
    with pytest.raises(TypeError, match=f"{name} must be a (whole )?number"):
        hpsearch.report(**{name: value})


@pytest.mark.parametrize(
    ("values", "given", "place", "rest"),
    [
        ({"epoch": 3.0, "acc": 1}, {}, (3, None), {"acc": 1.0}),
        ({"step": 0, "acc": 1}, {}, (None, 0), {"acc": 1.0}),
        ({"epoch": 0.5}, {}, (None, None), {"epoch": 0.5}),
        ({"epoch": 3}, {"step": 7}, (None, 7), {"epoch": 3.0}),
    ],
)
def test_the_epoch_may_stand_among_the_metrics(
    values: dict[str, float],
    given: dict[str, int],
    place: tuple[int | None, int | None],
    rest: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reports: list[ScriptReport] = []

    def take(report: ScriptReport) -> bool:
        reports.append(report)
        return True

    def run() -> None:
        hpsearch.report(values, epoch=given.get("epoch"), step=given.get("step"))
        reporting._connection()._socket.close()

    with selectors.DefaultSelector() as selector:
        server = ReportServer(selector, take)
        monkeypatch.setenv(reporting.SOCKET, str(server.path))
        monkeypatch.setattr(reporting, "_current", None)
        script = threading.Thread(target=run)
        script.start()
        while script.is_alive():
            for key, _ in selector.select(0.05):
                key.data()
            server.release()
        server.close()
    assert [(each.epoch, each.step) for each in reports] == [place]
    assert reports[0].metrics == rest

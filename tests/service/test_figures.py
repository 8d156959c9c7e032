"""The process that draws figures: it comes back when it died, and goes with the service."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hpsearch.errors import SearchNotFoundError
from hpsearch.service.cache.figures import FigureProcess
from hpsearch.service.search_files import SearchFiles
from tests.support.polling import wait_until

PARENT = """
import sys, time
from pathlib import Path
from hpsearch.service.cache.figures import FigureProcess
from hpsearch.service.search_files import SearchFiles
if __name__ == "__main__":
    FigureProcess(SearchFiles(Path(sys.argv[1]))).draw("small")
    print("drawn", flush=True)
    time.sleep(600)
"""


def test_figures_are_drawn_again_after_the_process_died(whole_search: Path) -> None:
    drawer = FigureProcess(SearchFiles(whole_search))
    known = set(psutil.Process().children())
    first = gzip.decompress(drawer.draw("small"))  # its header has the time
    assert {"objective", "curves"} <= set(json.loads(first)["figures"])
    [child] = [
        each
        for each in set(psutil.Process().children()) - known
        if "spawn_main" in " ".join(each.cmdline())  # not Python's own helper beside it
    ]
    child.kill()
    assert gzip.decompress(drawer.draw("small")) == first
    with pytest.raises(SearchNotFoundError):
        drawer.draw("another")


def test_the_process_does_not_outlive_a_service_that_is_killed(
    whole_search: Path, tmp_path: Path
) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, tmp_path / "parent.py", whole_search]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "drawn\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
    wait_until(lambda: not any(child.is_running() for child in children))

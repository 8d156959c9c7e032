"""How fast a team's service answers: `python -m benchmarks.service [--seconds 30]`.

`hpsearch serve` has 1,000 searches with 100,000 trials, of which four run, and 200 clients: 120
scripts that poll a search and the list every two seconds, 20 that do as `watch hpsearch list`,
30 that listen to events, and 30 open pages. It has just started, so that the records of all these
have to be read first: answers of the first 15 seconds are told apart. Then Chromium opens the list
and a search of 1,000 trials. Ray and MLflow don't run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from benchmarks.team import SIZES, driven, make_team, polled_names, running_names, unseen_names
from hpsearch.provenance import available_cpus
from hpsearch.service.embedded.processes import free_ports

DISTRIBUTIONS = ("fastapi", "uvicorn", "sqlalchemy", "optuna", "plotly")
CLIENTS = {"scripts": 120, "watchers": 20, "listeners": 30, "pages": 30}
#: of the pages, those that show the list; the others show searches that run
LIST_PAGES = 10
#: nobody listens there
NOWHERE = "http://127.0.0.1:1"
GOAL_MS, PAGE_GOAL_S = 200.0, 1.0
#: what pages ask for; the rest is the API's
OF_PAGES = ("page of the list", "page of a search", "its figures")
START_TIMEOUT_S = 60.0
#: seconds in which clients ask for the first time
COLD_S = 15.0
#: by route: when an answer was wanted, and the seconds that it took
Answers = dict[str, list[tuple[float, float]]]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=5, help="of loading a page")
    options = parser.parse_args()
    print(f"command: python -m benchmarks.service {' '.join(sys.argv[1:])}")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in DISTRIBUTIONS]
    print(f"versions: {', '.join(versions)}, python {platform.python_version()}")
    print(
        f"machine: {platform.machine()}, {available_cpus()} cores, "
        f"load {os.getloadavg()[0]:.1f} before",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="service-") as name:
        folder = Path(name)
        token = _make_team(folder)
        with served(folder) as url, driven(folder / "runs"):
            show_load(measure_load(url, token, options.seconds))
            show_pages(url, token, options.repeats)


def _make_team(folder: Path) -> str:
    started = time.perf_counter()
    token = make_team(folder / "runs")
    seconds = time.perf_counter() - started
    count, trials = sum(SIZES.values()), sum(size * n for size, n in SIZES.items())
    print(f"{count:,} searches of {trials:,} trials, made in {seconds:.0f} s", flush=True)
    return token


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run `hpsearch serve` on the searches of a folder; yields its URL."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "hpsearch.cli", "serve"]
    command += ["--runs", str(folder / "runs"), "--port", str(port)]
    command += ["--ray-address", NOWHERE, "--tracking-uri", NOWHERE]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_healthy(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a service answers."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except urllib.error.URLError:
            assert process.poll() is None and time.monotonic() < deadline, "it did not start"
            time.sleep(0.1)


def measure_load(url: str, token: str, seconds: float) -> Answers:
    """Let 200 clients ask for some seconds."""
    running = running_names()
    shown = CLIENTS["pages"] - LIST_PAGES
    request = {
        **CLIENTS,
        "url": url,
        "token": token,
        "seconds": seconds,
        "scripts": polled_names(CLIENTS["scripts"]),
        "pages": [None] * LIST_PAGES + [running[i % len(running)] for i in range(shown)],
    }
    command = [sys.executable, "-m", "benchmarks.clients"]
    asked = json.dumps(request) + "\n"
    done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    found: Answers = json.loads(done.stdout)
    return found


def show_load(found: Answers) -> None:
    """Print how long answers took, once every client has had its first."""
    title = f"ms, after {COLD_S:g} s"
    print(f"\n{title:28}{'number':>8}{'p50':>8}{'p99':>8}{'worst':>8}")
    cold: list[float] = []
    warm: dict[bool, list[float]] = {False: [], True: []}
    for route, answers in sorted(found.items()):
        later = [seconds for at, seconds in answers if at >= COLD_S]
        _show_route(route, later)
        if not route.startswith("event"):
            warm[route in OF_PAGES] += later
            cold += [seconds for at, seconds in answers if at < COLD_S]
    for what, of_pages, goal_ms in (("API", False, GOAL_MS), ("pages", True, 1e3 * PAGE_GOAL_S)):
        p99 = _show_route(f"all of the {what}", warm[of_pages])
        verdict = "reached" if p99 < goal_ms else "MISSED"
        print(f"p99 of the {what} under {goal_ms:g} ms: {verdict}")
    _show_route("those before, all unread", cold)


def _show_route(route: str, seconds: list[float]) -> float:
    ordered = sorted(1e3 * each for each in seconds) or [math.nan]
    p99 = ordered[int(0.99 * len(ordered))]
    p50 = statistics.median(ordered)
    print(f"{route:28}{len(ordered):8d}{p50:8.0f}{p99:8.0f}{ordered[-1]:8.0f}")
    return p99


def show_pages(url: str, token: str, repeats: int) -> None:
    """Print how long pages take in Chromium, which has nothing of them at first."""
    large = unseen_names(repeats)
    print(f"\n{'s, median (worst)':36}{'first text':>16}{'loaded':>16}{'first figure':>16}")
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for what, paths in (
            ("the list", ["/"] * repeats),
            (f"a search of {max(SIZES):,} trials", [f"/searches/{name}" for name in large]),
        ):
            loads = [_load_twice(browser, url, token, path) for path in paths]
            _show_page(f"{what}, the first time", [first for first, _ in loads])
            _show_page(f"{what}, again", [again for _, again in loads])
        browser.close()


Times = tuple[float, float, float]
#: whether a page has no figures, or has drawn one
DRAWN = """() => !document.querySelector("[data-figures]")
    || document.querySelector(".js-plotly-plot .main-svg")"""


def _load_twice(browser: Browser, url: str, token: str, path: str) -> tuple[Times, Times]:
    context = browser.new_context(base_url=url)
    headers = {"Sec-Fetch-Site": "same-origin"}
    assert context.request.post("/sign-in", form={"token": token}, headers=headers).ok
    times = _load(context, path), _load(context, path)
    context.close()
    return times


def _load(context: BrowserContext, path: str) -> Times:
    """Return the seconds until a page shows text, is loaded, and has drawn its first figure."""
    page = context.new_page()
    started = time.perf_counter()
    page.goto(path, wait_until="load")
    loaded = time.perf_counter() - started
    page.wait_for_function(DRAWN)
    drawn = time.perf_counter() - started
    paint = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    page.wait_for_function(paint)
    first = float(page.evaluate(paint)) / 1e3
    page.close()
    return first, loaded, drawn


def _show_page(what: str, times: list[Times]) -> None:
    cells = [
        f"{statistics.median(each):.2f} ({max(each):.2f})" for each in zip(*times, strict=True)
    ]
    worst = max(loaded for _, loaded, _ in times)
    verdict = "" if worst < PAGE_GOAL_S else "  MISSED"
    print(f"{what:36}" + "".join(f"{cell:>16}" for cell in cells) + verdict)


if __name__ == "__main__":
    main()

"""A search with trials one by one and as lanes: `python -m benchmarks.fused_search [SPEC]`.

Both ways in turn, with a driver and workers of their own. The training phase is from the first
result to the last end of a trial, as the record has them; its epochs a second are compared, since
early stopping trains others where more trials run at once.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed import REPOSITORY, print_circumstances
from hpsearch.runs import Runs


@dataclass(frozen=True)
class Phase:
    """What a search trained, in how many seconds, and its best objective."""

    epochs: int
    seconds: float
    best: float | None
    lanes: str

    @property
    def rate(self) -> float:
        """Epochs a second."""
        return self.epochs / self.seconds


def main() -> None:
    """Run the search both ways, `--rounds` times, and print the ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fused_search", description=__doc__)
    default = REPOSITORY / "search_spaces" / "digits_mlp.yaml"
    parser.add_argument("spec", nargs="?", type=Path, default=default)
    parser.add_argument("--fuse", nargs="+", default=["16", "auto"], help="beside off")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="as of hpsearch run")
    arguments = parser.parse_args()
    print_circumstances("benchmarks.fused_search")
    phases: dict[str, list[Phase]] = {fuse: [] for fuse in ("off", *arguments.fuse)}
    for seed in range(arguments.rounds):
        for fuse, found in phases.items():
            settings = [*arguments.set, f"fuse={fuse}", f"search.seed={seed}"]
            found.append(measured(arguments.spec, settings))
            print(f"fuse {fuse}, seed {seed}: {found[-1]}", flush=True)
    off = statistics.median(phase.rate for phase in phases["off"])
    for fuse, found in phases.items():
        rate = statistics.median(phase.rate for phase in found)
        print(f"fuse {fuse}: {rate:.1f} epochs a second, {rate / off:.2f} times those of off")


def measured(spec: Path, settings: list[str]) -> Phase:
    """Run a search in a folder of its own; returns its training phase."""
    with tempfile.TemporaryDirectory(prefix="fused-") as folder:
        runs = Path(folder, "runs")
        command = [sys.executable, "-m", "hpsearch.cli", "run", str(spec), "--runs", str(runs)]
        for setting in settings:
            command += ["--set", setting]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        [name] = Runs(runs).names()
        record = Runs(runs).search(name).open_record()
    reported = [time for trial in record.trials for time in trial.reported_at.values()]
    ended = [trial.ended_at for trial in record.trials if trial.ended_at is not None]
    best = None if record.best is None else record.objective(record.best)
    return Phase(len(reported), max(ended) - min(reported), best, record.lanes.told)


if __name__ == "__main__":
    main()

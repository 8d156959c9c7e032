"""The answers of all studies, as the table of docs/studies.md has them.

`python -m benchmarks.studies [NAME…]` runs those that haven't been run, in `--runs` (by default
build/studies), and prints a row for each: an hour on two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from hpsearch.analysis.comparison import Difference
from hpsearch.studies import FOLDER, Answer, Study, load_study, run_study
from hpsearch.studies.answers import direction_of, failures, measure_of


def row(name: str, study: Study, found: Sequence[Answer]) -> str:
    """Return a study's row: the measure, then a line for each case and one for all together."""
    lines = [f"`{measure_of(study)}`", *(_line(study, each) for each in found)]
    return f"| `hpsearch study {name}` | {study.question} | {'<br>'.join(lines)} |"


def _line(study: Study, answer: Answer) -> str:
    case = answer.case or ("together" if study.cases else "")
    parts = "; ".join([*_differences(study, answer), *_failures(answer)])
    return f"{case}: {parts}" if case else parts


def _differences(study: Study, answer: Answer) -> Iterator[str]:
    for each in answer.differences:
        digits = 1 if " to " in measure_of(study) else 4
        numbers = (each.mean, *(each.interval or ()))
        mean, *ends = (f"{number + 0.0:+.{digits}f}" for number in numbers)
        yield f"{_verdict(study, each)}, {mean} ({' to '.join(ends)})"


def _verdict(study: Study, difference: Difference) -> str:
    low, high = difference.interval or (-1.0, 1.0)
    if low <= 0 <= high:
        others = len(study.variants) > 2
        return f"{difference.second} can't be told apart" if others else "can't be told apart"
    is_better = (difference.mean > 0) == (direction_of(study) == "maximize")
    return f"{difference.second} is {'better' if is_better else 'worse'}"


def _failures(answer: Answer) -> Iterator[str]:
    for variant in answer.values:
        if text := failures(answer, variant):
            yield text


def main() -> None:
    """Run the studies and print their rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="studies; by default all")
    parser.add_argument("--runs", default="build/studies", help="folder of their searches")
    given = parser.parse_args()
    Path(given.runs).mkdir(parents=True, exist_ok=True)
    for name in given.names or sorted(each.stem for each in FOLDER.glob("*.yaml")):
        study = load_study(name)
        print(row(name, study, run_study(study, given.runs, progress=False)), flush=True)


if __name__ == "__main__":
    main()

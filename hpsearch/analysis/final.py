"""What new seeds say of the best configurations, in words and rows (`search.final`)."""

from __future__ import annotations

from typing import Any

from hpsearch.formatting import show, show_count
from hpsearch.record import Finalist, FinalNote, Record, Sample

HEADER = ("trial", "mean", "sd", "95 % interval", "seeds", "test", "in the search")


def final_told(record: Record) -> str | None:
    """Say what is being trained again, or what that gave; None where nothing is."""
    final = record.final
    if final is None:
        return None
    seeds = show_count(final.seeds, "new seed")
    if final.best is None:
        what = show_count(len(final.finalists), "configuration")
        return f"training the best {what} again with {seeds} each"
    best, metric = final.best, record.spec.objective.metric
    told = f"trial {best.trial}: {metric} {show_sample(best.objective)} of {seeds}"
    test = test_sample(record, best)
    return told if test is None else f"{told}, on the test split {show_sample(test)}"


def final_rows(record: Record, final: FinalNote) -> list[tuple[str, ...]]:
    """Return a row for each configuration under `HEADER`, the best first."""
    return [_row(record, each, final.seeds) for each in final.finalists]


def plain_final(final: FinalNote) -> dict[str, Any]:
    """Return it as plain values, with means, standard deviations and intervals."""
    return {
        "seeds": final.seeds,
        "is_ranked": final.is_ranked,
        "ranking": [
            {
                "trial": each.trial,
                "failed": each.failed,
                "objective": _plain_sample(each.objective),
                "test": {name: _plain_sample(found) for name, found in each.test_scores.items()},
            }
            for each in final.finalists
        ],
    }


def test_sample(record: Record, finalist: Finalist) -> Sample | None:
    """Return the test metric that matches the objective."""
    plain, scores = record.spec.objective.metric.removeprefix("val_"), finalist.test_scores
    return scores.get(f"test_{plain}", scores.get(plain))


def show_sample(sample: Sample) -> str:
    """Return a mean with its standard deviation.

    >>> show_sample(Sample((0.5, 0.75))), show_sample(Sample((0.5,))), show_sample(Sample(()))
    ('0.625 ± 0.1768', '0.5', '–')
    """
    if not sample.values:
        return "–"
    return show(sample.mean) + ("" if sample.std is None else f" ± {show(sample.std)}")


def _row(record: Record, each: Finalist, seeds: int) -> tuple[str, ...]:
    found, test = each.objective, test_sample(record, each)
    ends = "–" if found.interval is None else " to ".join(map(show, found.interval))
    return (
        str(each.trial),
        show(found.mean) if found.values else "–",
        "–" if found.std is None else show(found.std),
        ends,
        f"{len(each.values)} of {seeds}",
        "–" if test is None else show_sample(test),
        show(record.objective(record.trials[each.trial])),
    )


def _plain_sample(sample: Sample) -> dict[str, Any]:
    interval = None if sample.interval is None else list(sample.interval)
    mean = sample.mean if sample.values else None
    return {"values": list(sample.values), "mean": mean, "std": sample.std, "interval": interval}

"""Metrics that the data allows and a trial lacks all the same."""

from __future__ import annotations

from hpsearch.record import Record

#: of other metrics a model may have nothing, such as saturated units
_OF_PREDICTIONS = ("train_", "val_")


def missing_metrics(record: Record) -> list[str]:
    """Name the metrics that the best trial lacks although the data allows them."""
    best, notes = record.best, record.data
    if best is None or not best.curve:
        return []
    names = [
        name
        for name in notes.metrics
        if name.startswith(_OF_PREDICTIONS)
        and name not in best.curve[best.epochs]
        and name not in notes.undefined
    ]
    if not names:
        return []
    told = (
        f"trial {best.number} doesn't have them at its last epoch: its predictions don't allow it"
    )
    return [f"{', '.join(names)}: {told}"]

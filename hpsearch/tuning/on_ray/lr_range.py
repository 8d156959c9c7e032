"""Range tests of the learning rate where the trials train: here, or on a GPU of the cluster."""

from __future__ import annotations

import logging

import ray

from hpsearch.components import Data
from hpsearch.importing import outliving_exits
from hpsearch.lr_range import find_lr_ranges, with_lr_ranges
from hpsearch.record import LrRangeNote, Record
from hpsearch.runs import SearchFolder
from hpsearch.tuning.on_ray.shipping import ShippedData
from hpsearch.validation.lr_places import LrPlace, lr_places


def narrow_lr_ranges(record: Record, data: Data, folder: SearchFolder) -> None:
    """Make the range tests that a spec asks for, once: what they find is in the record."""
    if record.spec.search.lr is None or record.lr_ranges is not None or record.trials:
        return
    places = [place for place in lr_places(record.spec) if place.is_searched]
    with outliving_exits():  # of models of the user's
        notes = _test(record, data, places)
    for note in notes:
        _log.info("%s", note)
    record.set_lr_ranges(notes, with_lr_ranges(record.spec, notes, record.first_points))
    folder.write_spec(record.spec)


def _test(record: Record, data: Data, places: list[LrPlace]) -> list[LrRangeNote]:
    """Test with a trial's resources."""
    spec = record.spec
    if spec.resources.gpu == 0:
        return find_lr_ranges(spec, data, places)
    resources = {"num_cpus": spec.resources.cpu, "num_gpus": spec.resources.gpu}
    shipped = ShippedData(data, spec.to_dict().get("dataset"), spec.folder, record.code_copy)
    task = ray.remote(**resources)(find_lr_ranges)
    found: list[LrRangeNote] = ray.get(task.remote(spec, shipped, places))
    return found


_log = logging.getLogger(__name__)

"""The search itself: Ray Tune runs the trials, the record comes first, early stopping decides."""

from hpsearch.process import environment
from hpsearch.tuning.ray_settings import IMPORTED_WITH

with environment(IMPORTED_WITH):
    import ray  # noqa: F401

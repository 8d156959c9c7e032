"""Ray's side of a search: Tune's interfaces over `SearchControl`, the actor, the cluster.

Nothing is decided here. Ray is imported here first, because it reads some settings only then.
"""

from hpsearch.process import environment
from hpsearch.tuning.on_ray.settings import IMPORTED_WITH

with environment(IMPORTED_WITH):
    import ray  # noqa: F401

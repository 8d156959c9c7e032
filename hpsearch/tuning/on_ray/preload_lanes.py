"""Imported by Ray's workers as they start, where trials may share them: see `preload`.

Lanes step without torch's compiler, which takes half as long to import as all that is here.
"""

import gc

gc.disable()

import hpsearch.tuning.on_ray.lane_actor  # noqa: E402, F401
from hpsearch.training.compiler import spare_compiler  # noqa: E402

spare_compiler()
gc.freeze()
gc.enable()

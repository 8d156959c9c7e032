"""How many lanes of a program pay, by the time of their steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from hpsearch.training.lanes.probing import NUM_ROWS, tried
from hpsearch.training.seeds import keeps_random_states
from hpsearch.training.trainer import Trainer

#: a program is used where the lanes' steps are so many times as fast as by themselves; one with
#: gradients in closed form where they are faster: it saves the optimizers' time, too
WORTH_IT = 1.15
#: seconds after which no more lanes are tried
MEASURED_S = 1.0


@dataclass(frozen=True)
class Pace:
    """How many lanes are best, the fewest that pay, and how many times as fast a step is.

    One may pay, where its program has closed forms; without a program all are as they are.
    """

    best: int = 1
    fewest: int = 2
    speedup: float = 1.0

    def best_of(self, num_programs: int) -> int:
        """Return how many lanes are best if they are of so many programs.

        >>> Pace(8, fewest=4).best_of(2), Pace(8, fewest=4).best_of(3), Pace(8, 1).best_of(9)
        (8, 1, 8)
        """
        return self.best if self.fewest == 1 or self.best >= self.fewest * num_programs else 1


@keeps_random_states
def measured_pace(trainer: Trainer, candidates: Sequence[int], *, stacked: bool = False) -> Pace:
    """Measure steps of so many lanes like a trainer's, in ascending order; `best` is 1 if none
    pays. Those that need more memory than there is are left out, and what would come after a
    second: such large nets keep a device busy. Batches are the trainer's: the smaller they are,
    the more a program gains.
    """
    found: dict[int, float] = {}
    began = time.perf_counter()
    num_rows = min(NUM_ROWS, trainer.config.values["batch_size"])
    for num_lanes in candidates:
        try:
            with tried([trainer] * num_lanes, stacked=stacked, num_rows=num_rows) as trial:
                speedup = trial.time_alone() * num_lanes / trial.time_fused()
                is_paying = speedup > (1 if trial.is_closed else WORTH_IT)
        except (Exception, SystemExit):  # out of memory, or no program: `why_not` says so
            break
        if is_paying:
            found[num_lanes] = speedup
        if time.perf_counter() - began > MEASURED_S:
            break
    if not found:
        return Pace()
    best = max(found, key=lambda num_lanes: found[num_lanes])
    return Pace(best, min(found), found[best])

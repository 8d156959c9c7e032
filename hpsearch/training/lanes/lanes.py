"""`Lanes`: trainers that come and go, each with those that share its program."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from hpsearch.formatting import show_error
from hpsearch.training.lanes.group import LaneGroup, Result
from hpsearch.training.lanes.probing import why_not
from hpsearch.training.lanes.programs import have_same_batches, obstacle_of, program_of
from hpsearch.training.lanes.stacked_optimizers import kind_of_step
from hpsearch.training.trainer import Trainer

#: what is the same for trainers that share a program; ("alone", …) for one that shares none
_Program: TypeAlias = tuple[Hashable, Hashable]
#: programs that are remembered to compute what their trainers do
MAX_SOUND = 64
#: parameters, of all lanes whose batches are of one size, from which these lanes are trained by
#: themselves: a program for all sizes takes fewer steps, but adds up the gradients of parts, which
#: takes longer where they leave a CPU's cache (`python -m benchmarks.batch_parts`)
APART_PARAMS = 100_000


class ProgramError(Exception):
    """A program failed in the middle of an epoch; the error is its cause.

    Its trainers are of no use any more: they must be built again, and join as `alone`.
    """


@dataclass
class _Group:
    """The lanes of a program, and what trains them while they stay the same: all, or those of
    each batch size."""

    trainers: list[Trainer] = field(default_factory=list)
    fused: list[LaneGroup] = field(default_factory=list)
    #: why its lanes are trained one by one; None: not known yet
    reason: str | None = None

    def close(self) -> None:
        for each in self.fused:
            each.close()
        self.fused = []


class Lanes:
    """Trains lanes epoch by epoch, those of a program as one.

        lanes = Lanes()
        lanes.join(Trainer(config, data))
        for trainer, result in lanes.train_epoch().items(): ...

    Lanes join and leave between epochs. Those of a program that fewer than `fewest` share, or
    that can't be shared (`reasons`), are trained by themselves, as their trainers would be. A
    program may pay for one lane, too: it doesn't wait for autograd.
    `stacked` says whether the optimizers of a program step as one where they can: by default on a
    GPU, where they get programs by their kinds.
    """

    def __init__(self, fewest: int = 2, *, stacked: bool | None = None) -> None:
        self.fewest, self._stacked = fewest, stacked
        self._groups: dict[_Program, _Group] = {}
        self._turns: deque[_Program] = deque()
        self._program: dict[Trainer, _Program] = {}
        self._failures: set[str] = set()
        #: programs that compute what their trainers do, with batches of the same sizes or not
        self._sound: dict[tuple[_Program, bool], None] = {}
        #: epochs trained by a program that is shared, and by trainers alone
        self.num_fused = self.num_alone = 0

    def __contains__(self, trainer: object) -> bool:
        return trainer in self._program

    def __len__(self) -> int:
        return len(self._program)

    @property
    def trainers(self) -> Set[Trainer]:
        """The lanes."""
        return self._program.keys()

    @property
    def reasons(self) -> set[str]:
        """Why lanes that were together were trained one by one."""
        found = {group.reason for group in self._groups.values() if group.reason}
        return found | self._failures

    @property
    def unrecorded(self) -> set[str]:
        """Why the steps of shared programs aren't recorded as CUDA graphs where they could be."""
        fused = [each for group in self._groups.values() for each in group.fused]
        return {each.training.reason for each in fused} - {""}

    def join(self, trainer: Trainer, *, alone: bool = False) -> None:
        """Take a trainer, to be trained by itself if `alone`."""
        reason = "its program has failed" if alone else obstacle_of(trainer)
        program: _Program = ("alone", id(trainer)) if reason else self._program_of(trainer)
        group = self._groups.setdefault(program, _Group(reason=reason or None))
        group.close()
        group.trainers.append(trainer)
        if not group.reason and not have_same_batches(group.trainers):
            group.reason = None  # one that was found for batches of the same sizes
        self._program[trainer] = program
        if program not in self._turns:
            self._turns.append(program)

    def leave(self, trainer: Trainer) -> None:
        """Let a trainer go; it has its tensors for itself then."""
        program = self._program.pop(trainer)
        group = self._groups[program]
        group.close()
        group.trainers.remove(trainer)
        if not group.trainers:
            self._turns.remove(program)
            # a reason holds for the next ones; objects in the key may be others by then
            if not group.reason or program[0] == "alone":
                del self._groups[program]

    @property
    def next_trainers(self) -> tuple[Trainer, ...]:
        """The lanes of the program whose turn it is."""
        return tuple(self._groups[self._turns[0]].trainers) if self._turns else ()

    def train_epoch(self) -> dict[Trainer, Result]:
        """Train an epoch of the lanes of the program whose turn it is.

        Returns what each reports, or its error. Where callbacks have ended the training of some,
        these report None, before the others are trained; they must leave.
        """
        program = self._turns[0]
        group = self._groups[program]
        if over := [trainer for trainer in group.trainers if trainer.is_over]:
            return dict.fromkeys(over)
        if any([self._joins_again(trainer) for trainer in tuple(group.trainers)]):
            return self.train_epoch()
        self._turns.rotate(-1)
        try:
            return self._train(group)
        except (Exception, SystemExit) as error:  # a model may end the program
            self._failures.add(f"a shared program failed: {show_error(error)}")
            failure = ProgramError(str(error))
            failure.__cause__ = error
            return dict.fromkeys(group.trainers, failure)

    def _train(self, group: _Group) -> dict[Trainer, Result]:
        is_shared = len(group.trainers) >= self.fewest
        if is_shared and group.reason is None:
            group.reason = self._why_not(group.trainers)
        if not is_shared or group.reason:
            group.close()
            self.num_alone += len(group.trainers)
            return {trainer: _train_alone(trainer) for trainer in group.trainers}
        group.fused = group.fused or self._put_together(group.trainers)
        found: dict[Trainer, Result] = {}
        for fused in group.fused:
            results = fused.train_epoch()
            found |= zip(fused.trainers, results, strict=True)
            if len(results) > 1:
                self.num_fused += len(results)
            else:
                self.num_alone += 1
        if any(fused.is_changed for fused in group.fused):
            group.close()
        return found

    def _put_together(self, trainers: list[Trainer]) -> list[LaneGroup]:
        """Return what trains the lanes of a program: where batches are of several sizes, one for
        each of them if that takes less time."""
        fused = LaneGroup(trainers, stacked=self._is_stacked(trainers[0]))
        by_size: dict[Hashable, list[Trainer]] = {}
        for trainer in trainers:
            by_size.setdefault(trainer.config.values["batch_size"], []).append(trainer)
        num_params = fused.num_params * len(trainers) // len(by_size)
        is_apart = fused.is_closed and self.fewest == 1 and num_params >= APART_PARAMS
        if len(by_size) == 1 or not is_apart:
            return [fused]
        fused.close()
        return [LaneGroup(each, stacked=False) for each in by_size.values()]

    def _why_not(self, trainers: list[Trainer]) -> str:
        """Return why trainers of one program are trained one by one, or nothing.

        A program that is sound is tried once, whatever lanes it has later.
        """
        program, same_batches = self._program[trainers[0]], have_same_batches(trainers)
        if (program, False) in self._sound or (program, same_batches) in self._sound:
            return ""
        reason = why_not(trainers, stacked=self._is_stacked(trainers[0]))
        if not reason:
            self._sound[program, same_batches] = None
            if len(self._sound) > MAX_SOUND:
                del self._sound[next(iter(self._sound))]
        return reason

    def _joins_again(self, trainer: Trainer) -> bool:
        """Let a trainer whose model a callback has made another one join what fits it now."""
        program = self._program[trainer]
        has_callbacks = bool(trainer.config.values.get("callbacks"))
        if not has_callbacks or program[0] == "alone" or program == self._program_of(trainer):
            return False
        self.leave(trainer)
        self.join(trainer)
        return True

    def _program_of(self, trainer: Trainer) -> _Program:
        kind = kind_of_step(trainer) if self._is_stacked(trainer) else None
        return program_of(trainer), kind

    def _is_stacked(self, trainer: Trainer) -> bool:
        return trainer.device.type == "cuda" if self._stacked is None else self._stacked


def _train_alone(trainer: Trainer) -> Result:
    try:
        return trainer.train_epoch()
    except (Exception, SystemExit) as error:  # the parts of a trial may be of the user's own
        return error

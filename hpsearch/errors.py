"""The errors that hpsearch raises, as a tree:

HpsearchError                     exit status 2 on the command line
├── SpecError                     what a user wrote in a spec is wrong; carries every problem
├── UserCodeError                 a user's factory can't be imported, or returns something else
│   └── ScriptChangedError        a script was edited while its search runs
├── PluginError                   an installed package's components can't be imported
├── DataError                     a data set is missing or can't be used
├── RunsError                     the runs folder can't be used
│   ├── SearchExistsError         a search of this name is there already
│   ├── SearchNotFoundError       no search of this name is there
│   ├── SearchRunningError        another driver works on the search
│   ├── SearchEndedError          the search has ended, so nothing is left to continue
│   ├── CodeChangedError          the code of a search is no longer what it was
│   └── UnsafeFileError           what lies in a search's folder is no regular file
├── RecordError                   the record can't be read, or belongs to another search
├── ClusterError                  the Ray cluster can't be reached, or no node of it fits a trial
├── TrackingError                 MLflow's store can't be used as asked
├── ServiceError                  the service can't do what was asked
│   ├── UnreachableError          the service does not answer, or breaks off its answer
│   ├── NotAuthenticatedError     no token, or one that isn't valid
│   ├── NotAllowedError           the user's role doesn't allow it
│   ├── ConflictError             the search's state doesn't allow it
│   ├── TooManyRequestsError      the user asks for too much at once
│   └── UploadError               an upload is too large, or isn't a safe archive
└── SearchFailedError             its trials all fail alike, or it exceeds its disk quota

TrialError                        ends one trial, never a search
├── DivergedError                 first non-finite loss or metric
└── BadConfigurationError         the trial found that its configuration can't work

ComponentError                    mixed into DataError, UserCodeError and BadConfigurationError:
                                  a component knows the rule, the value and its own keyword; the
                                  code that builds it adds its place in the spec
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any


class HpsearchError(Exception):
    """Base of every error that a user can cause and mend."""


class NoValue:
    """Stands for no value: the rule names it already, or there is none."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a spec: where it is, which rule it breaks, what stands there, what to do."""

    path: str
    rule: str
    value: Any = NoValue
    nearest: tuple[str, ...] = ()
    hint: str = ""

    @property
    def has_value(self) -> bool:
        """Whether the wrong value is part of the message."""
        return self.value is not NoValue

    def below(self, *keys: str | int) -> Problem:
        """Return the problem with its path relative to a place further out.

        >>> str(Problem("lr", "must be positive", -1).below("optimizer", "choices", 0))
        'optimizer.choices.0.lr: must be positive, but got -1'
        """
        return replace(self, path=_joined(*keys, self.path))

    def __str__(self) -> str:
        text = f"{self.path}: {self.rule}" if self.path else self.rule
        if self.has_value:
            text += f", but got {self.value!r}"
        if self.nearest:
            text += f"; did you mean {' or '.join(repr(name) for name in self.nearest)}?"
        return f"{text}; {self.hint}" if self.hint else text


def _joined(*keys: str | int) -> str:
    return ".".join(str(key) for key in keys if key != "")


class ComponentError(Exception):
    """Base of what a component finds wrong with its keywords, or with what it is given.

    `problem` has the rule, the value and, where one is at fault, the component's own `keyword`;
    the code that builds or calls the component adds its place (`placed`).
    """

    def __init__(
        self,
        rule: str = "",
        value: Any = NoValue,
        *,
        keyword: str = "",
        nearest: tuple[str, ...] = (),
        hint: str = "",
    ) -> None:
        super().__init__(rule)
        self.problem = Problem(keyword, rule, value, nearest, hint)

    def __str__(self) -> str:
        return str(self.problem)


@contextmanager
def placed(*keys: str | int) -> Iterator[None]:
    """Add the place of the component that is built or called in here to what it raises.

    A ComponentError has it in its message; `place_of` returns it for any error.
    """
    try:
        yield
    except ComponentError as error:
        error.problem = error.problem.below(*keys)
        raise
    except Exception as error:  # a user's component may raise anything
        vars(error)["place"] = _joined(*keys, place_of(error))
        raise


def place_of(error: Exception) -> str:
    """Return the place of the component that raised an error; empty where it is unknown."""
    if isinstance(error, ComponentError):
        return error.problem.path
    place: str = vars(error).get("place", "")
    return place


def problem_of(error: Exception, rule: str = "must build", value: Any = NoValue) -> Problem:
    """Return what an error says, at the place where the component stands that raised it.

    A component that knows what is wrong says it itself; of any other error of a user's code
    `rule` says what it had to do, given `value`.
    """
    if isinstance(error, ComponentError):
        return error.problem
    return Problem(place_of(error), f"{rule} ({type(error).__name__}: {error})", value)


def nearest_names(name: object, known: Iterable[str]) -> tuple[str, ...]:
    """Return the known names that a typing mistake could have meant, best first.

    >>> nearest_names("learnign_rate", ["learning_rate", "momentum"])
    ('learning_rate',)
    >>> nearest_names("LSTM", ["gru", "lstm"])
    ('lstm',)
    """
    plain = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(str(name).casefold(), plain, n=2, cutoff=0.6)
    return tuple(plain[each] for each in close)


class SpecError(HpsearchError):
    """Raised when a spec is wrong; `problems` holds every mistake that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def below(self, *keys: str | int) -> SpecError:
        """Return the error with its problems' paths relative to a place further out."""
        return SpecError([problem.below(*keys) for problem in self.problems])


class UserCodeError(HpsearchError, ComponentError):
    """Raised when code that a spec names can't be imported or returns the wrong thing."""


class ScriptChangedError(UserCodeError):
    """Raised when the script of a command is no longer what was checked."""


class PluginError(HpsearchError):
    """Raised when an entry point of an installed package can't be imported."""


class DataError(HpsearchError, ComponentError):
    """Raised when a data set is missing (the message says how to get it) or can't be used."""


class RunsError(HpsearchError):
    """Raised when the runs folder can't be read or written."""


class SearchExistsError(RunsError):
    """Raised when a new search would take the name of one that is there."""


class SearchNotFoundError(RunsError):
    """Raised when no search has the name that was asked for."""


class SearchRunningError(RunsError):
    """Raised when another driver works on a search."""

    @classmethod
    def of(cls, name: str) -> SearchRunningError:
        """Return the error for a search of this name."""
        return cls(f"{name} is running in another process")


class SearchEndedError(RunsError):
    """Raised when a search has ended, so that there is nothing to resume or to stop."""


class UnsafeFileError(RunsError):
    """Raised where a link, a device or the like lies in place of a file of a search."""


class CodeChangedError(RunsError):
    """Raised when the code of a search is no longer what it was, and nobody said that it may be
    another; `files` says what differs."""

    def __init__(self, name: str, files: Sequence[str]) -> None:
        self.files = tuple(files)
        what = f"the code of {name} has changed since the search last ran: {', '.join(files)}"
        super().__init__(f"{what}; accept the current code with --changed-code")


class RecordError(HpsearchError):
    """Raised when a record can't be read or belongs to a search with another space."""


class ClusterError(HpsearchError):
    """Raised when the Ray cluster can't be reached or no node of it fits a trial."""


class TrackingError(HpsearchError):
    """Raised when MLflow's store can't be used as asked."""


class ServiceError(HpsearchError):
    """Raised when a service can't be reached, can't be started or refuses what was asked."""


class UnreachableError(ServiceError):
    """Raised when a service does not answer, or breaks off its answer."""


class NotAuthenticatedError(ServiceError):
    """Raised without a token, or with one that is unknown or revoked."""


class NotAllowedError(ServiceError):
    """Raised when a user's role does not allow what was asked."""


class ConflictError(ServiceError):
    """Raised when the state of a search does not allow what was asked."""


class TooManyRequestsError(ServiceError):
    """Raised when too many requests of one user wait already."""


class UploadError(ServiceError):
    """Raised when uploaded code is too large or is no archive that is safe to unpack."""


class SearchFailedError(HpsearchError):
    """Raised when a search ends early: its newest trials all failed alike, or its checkpoints
    exceed its disk quota."""


class TrialError(Exception):
    """Base of what ends one trial for a reason that its configuration caused."""


class DivergedError(TrialError):
    """Raised in a trial at the first non-finite loss or metric."""


class BadConfigurationError(TrialError, ComponentError):
    """Raised in a trial, by users too, when its configuration can't be trained."""

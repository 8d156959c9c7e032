"""Calls that are recorded as CUDA graphs: a step of many small kernels becomes one launch."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

import torch

from hpsearch.formatting import show_error

#: calls that run as they are before one is recorded, so that all that is lazy has been done
NUM_WARM_UP = 2

_Key = TypeVar("_Key", bound=Hashable)
Call = Callable[[], None]


class Recorder(Protocol):
    """What runs calls, and records them."""

    def run(self, call: Call) -> None:
        """Run a call in the way in which it is recorded later."""

    def record(self, call: Call) -> Call:
        """Return what replays a call; the call itself takes no effect."""


class CudaRecorder:
    """Records graphs on a stream of their own; they share their memory, so one runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, call: Call) -> None:
        """See Recorder."""
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            call()
        outside.wait_stream(self._stream)

    def record(self, call: Call) -> Call:
        """See Recorder."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            call()
        return graph.replay


def recorder_for(device: torch.device) -> Recorder | None:
    """Return what records on a device; None where nothing does."""
    return CudaRecorder(device) if device.type == "cuda" else None


class RecordedCalls(Generic[_Key]):
    """Calls a function by a recording for each key.

    The function must read and write tensors that stay where they are, and nothing else. The first
    calls of a key run as they are. Where a recording fails, all further calls do: see `reason`.
    """

    def __init__(self, function: Callable[[_Key], None], recorder: Recorder | None) -> None:
        self._function, self._recorder = function, recorder
        self._num_calls: dict[_Key, int] = {}
        self._replays: dict[_Key, Call] = {}
        #: why nothing is recorded any more
        self.reason = ""

    def __call__(self, key: _Key) -> None:
        recorder = self._recorder
        if recorder is None:
            self._function(key)
            return
        count = self._num_calls[key] = self._num_calls.get(key, 0) + 1
        if count > NUM_WARM_UP and key not in self._replays and not self.reason:
            self._record(recorder, key)
        replay = self._replays.get(key)
        if replay is not None:
            replay()
        else:
            recorder.run(lambda: self._function(key))

    def _record(self, recorder: Recorder, key: _Key) -> None:
        try:
            self._replays[key] = recorder.record(lambda: self._function(key))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a model may do anything that can't be recorded
            self.reason = show_error(error)
            self._replays.clear()

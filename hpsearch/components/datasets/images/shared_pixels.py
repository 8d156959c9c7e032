"""Decoded images in memory that all processes of a node share.

The first process that needs them makes the memory (memfd_create), and hands it to the others
through a socket whose name follows from what the images are. It has no name in a file system, so
nothing is left behind, however processes end: it is free once none of them holds it. Only Linux
has such memory; elsewhere images are decoded whenever they are read.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpsearch.process import when_freed

#: the part of the memory that is free now which images may take
MAX_SHARE = 0.5
#: seconds in which another process of the node has to hand over its memory
TIMEOUT_S = 2.0
#: seconds between two looks whether it does
RETRY_S = 0.01
_CGROUP = Path("/sys/fs/cgroup")
Decode = Callable[[int], NDArray[np.uint8]]


class SharedPixels:
    """Images by number, uint8, each decoded by the first process that reads it."""

    def __init__(self, memory: mmap.mmap, num_images: int, shape: tuple[int, ...]) -> None:
        self._is_there = np.frombuffer(memory, np.uint8, num_images)
        self._pixels = np.frombuffer(memory, np.uint8, offset=num_images).reshape(-1, *shape)
        self._tensor = torch.from_numpy(self._pixels)

    @property
    def num_decoded(self) -> int:
        """How many images are there."""
        return int(self._is_there.sum())

    def read(self, numbers: Sequence[int], decode: Decode) -> Tensor:
        """Return images (len(numbers), *shape), after decoding those that aren't there yet."""
        index = np.asarray(numbers, np.int64)
        for number in index[self._is_there[index] == 0]:
            self._pixels[number] = decode(int(number))
            self._is_there[number] = 1  # two processes that decode the same write the same
        return self._tensor.index_select(0, torch.from_numpy(index))


def open_pixels(key: str, num_images: int, shape: tuple[int, ...]) -> SharedPixels | None:
    """Return the node's memory for these images; None where they don't fit, or there is none.

    `key` stands for the images: processes that give the same get the same memory.
    """
    if not hasattr(os, "memfd_create") or not hasattr(socket, "AF_UNIX"):
        return None
    if (opened := _opened.get(key)) is not None:
        return opened
    address = f"\0hpsearch-images-{os.getuid()}-{key}"
    num_bytes = num_images * (1 + int(np.prod(shape)))
    descriptor, server = _shared(address, num_bytes)
    if descriptor is None:
        return None
    pixels = SharedPixels(mmap.mmap(descriptor, num_bytes), num_images, shape)
    os.close(descriptor)  # the mapping has its own
    if server is not None:
        when_freed(pixels, _stop, server)
    _opened[key] = pixels
    return pixels


#: what this process holds already
_opened: weakref.WeakValueDictionary[str, SharedPixels] = weakref.WeakValueDictionary()


def _shared(address: str, num_bytes: int) -> tuple[int | None, socket.socket | None]:
    """Return another process's memory, or new memory and the socket that hands it out.

    For a moment there may be neither: another process begins to hand out, or has just let go.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        if (descriptor := _received(address)) is not None:
            return descriptor, None
        if num_bytes > MAX_SHARE * available_bytes():
            return None, None
        if (server := _bound(address)) is not None:
            return _offered(server, num_bytes), server
        if time.monotonic() > deadline:
            return None, None
        time.sleep(RETRY_S)


def _received(address: str) -> int | None:
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(TIMEOUT_S)
        client.connect(address)
        if _is_own(client):
            descriptors = socket.recv_fds(client, 1, 1)[1]
            return descriptors[0] if descriptors else None
    return None


def _bound(address: str) -> socket.socket | None:
    """Return a socket at an address, unless there is one."""
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(address)
        server.listen(64)
    except OSError:
        server.close()
        return None
    return server


def _offered(server: socket.socket, num_bytes: int) -> int:
    """Return new memory, which a socket hands out from now on."""
    descriptor = os.memfd_create("hpsearch-images")
    os.ftruncate(descriptor, num_bytes)  # takes nothing before it is written
    arguments = (server, os.dup(descriptor))
    threading.Thread(target=_serve, args=arguments, daemon=True, name="hpsearch-images").start()
    return descriptor


def _serve(server: socket.socket, descriptor: int) -> None:
    """Hand a descriptor to whoever asks, until the socket is shut down."""
    with server:
        while True:
            try:
                client = server.accept()[0]
            except OSError:
                os.close(descriptor)
                return
            with client, suppress(OSError):
                if _is_own(client):
                    socket.send_fds(client, [b"."], [descriptor])


def _stop(server: socket.socket) -> None:
    with suppress(OSError):  # the thread that serves has ended
        server.shutdown(socket.SHUT_RDWR)


def _is_own(peer: socket.socket) -> bool:
    """Whether a process of the same user is at the other end."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid == os.getuid()


def available_bytes() -> int:
    """Return the memory that is free, of this machine or of the container that holds us."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    with suppress(OSError, ValueError):  # no such limit, or `max`
        most, used = (int((_CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, most - used)
    return max(free, 0)

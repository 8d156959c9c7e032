"""Asks a service whether it is well, in a process that does nothing else: `benchmarks.hostile`."""

from __future__ import annotations

import http.client
import sys
import time
from urllib.parse import urlsplit


def main() -> None:
    """Print the seconds that each answer took, connection included."""
    url, seconds, interval_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    address = urlsplit(url).netloc
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        took = time.perf_counter() - began
        connection.close()
        print(took)
        time.sleep(max(0.0, interval_s - took))


if __name__ == "__main__":
    main()

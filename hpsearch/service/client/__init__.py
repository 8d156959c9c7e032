"""A client of the service, and the archive of users' code that it uploads.

It knows the HTTP interface alone and imports nothing of the server. The service's errors are
raised here as the same classes.
"""

from __future__ import annotations

from hpsearch.service.client.http_client import Client
from hpsearch.service.client.packing import pack_folder

__all__ = ["Client", "pack_folder"]

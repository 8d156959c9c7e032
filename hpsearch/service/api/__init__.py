"""The service's HTTP interface, version 1."""

from hpsearch.service.api.app import create_app

__all__ = ["create_app"]

"""The service's web pages, for people; programs use the interface under `api/`."""

from hpsearch.service.pages.app import add_pages

__all__ = ["add_pages"]

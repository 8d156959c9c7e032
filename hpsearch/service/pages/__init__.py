"""The service's web pages, for people; programs use the interface under `api/`.

A page works without its script. Texts of users are escaped by the templates, no page holds a
script of its own, and MLflow and optuna-dashboard are forwarded by a list of routes that read.
"""

from hpsearch.service.pages.app import add_pages

__all__ = ["add_pages"]

"""Browsers: without JavaScript, and Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from fastapi.testclient import TestClient

Visitor = Callable[..., TestClient]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

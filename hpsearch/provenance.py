"""Where a search ran and with what: the facts that its record and its runs are stamped with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

_PACKAGES = ("hpsearch", "ray", "optuna", "mlflow", "torch", "scikit-learn", "numpy")


def collect_versions() -> dict[str, str]:
    """Return the versions and the machine, as plain texts."""
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    facts |= {package: importlib.metadata.version(package) for package in _PACKAGES}
    return facts | {"cpus": str(available_cpus())}


def collect_facts(folder: str | Path = ".") -> dict[str, str]:
    """Return the versions, the machine, and the git commit of a folder, as plain texts.

    Git runs what the settings of a repository name: not for a folder that isn't trusted.
    """
    facts = collect_versions()
    commit = _git(folder, "rev-parse", "HEAD")
    if commit:
        facts["git_commit"] = commit + ("-dirty" if _git(folder, "status", "--porcelain") else "")
    return facts


def available_cpus() -> int:
    """Return the processors that this process may use."""
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


def _git(folder: str | Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, or no repository
        return ""
    return done.stdout.strip()

"""Installs the locked requirements into a virtual environment: `python deploy/install.py .venv`.

By uv, which downloads and unpacks in parallel and compiles no bytecode, or by pip where uv can't
be had. Needs nothing but Python.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

UV = "uv==0.13.9"
#: settings of pip and what uv calls them; uv reads none of pip's
SETTINGS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "proxy": "ALL_PROXY",
}
REQUIREMENTS = (
    ("--requirement", "requirements.lock"),
    ("--no-deps", "--requirement", "requirements-no-deps.lock"),
    ("--no-deps", "--no-build-isolation", "--editable", "."),
    ("--no-deps", "--target", "{environment}/vision", "--requirement", "requirements-vision.lock"),
)


def main() -> None:
    """Install everything into the environment that the command line names."""
    if not install(Path(sys.argv[1]).absolute(), REQUIREMENTS):
        raise SystemExit(1)


def install(environment: Path, requirements: Sequence[Sequence[str]]) -> bool:
    """Return whether every one of these could be installed: arguments of `pip install` each."""
    requirements = [
        [each.format(environment=environment) for each in arguments] for arguments in requirements
    ]
    python = environment / "bin" / "python"
    pip = [str(python), "-m", "pip"]
    quietly = ("--quiet", "--disable-pip-version-check")
    if run([*pip, "install", *quietly, UV]):
        listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True)
        settings = uv_settings(listed.stdout) | os.environ
        uv = [str(python.with_name("uv")), "pip", "install", "--quiet", "--python", str(python)]
        if all(run([*uv, *each], settings) for each in requirements):
            return True
    print("uv can't install the requirements here; pip takes minutes", flush=True)
    return all(run([*pip, "install", *quietly, *each]) for each in requirements)


def uv_settings(pip_config: str) -> dict[str, str]:
    """Return the environment in which uv finds what pip's settings name (`pip config list`).

    A folder that isn't there is left out, as pip does.
    """
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip looks at all indexes
    for line in pip_config.splitlines():
        key, _, value = line.partition("=")
        variable = SETTINGS.get(key.rpartition(".")[2])
        entries = [entry for entry in _entries(value) if _may_exist(entry)]
        if variable is not None and entries:
            found[variable] = " ".join(entries)
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = found["UV_FIND_LINKS"].replace(" ", ",")
    return found


def _entries(quoted: str) -> Iterator[str]:
    """Yield the entries of a value that pip shows as Python would."""
    for text in shlex.split(quoted):
        yield from text.replace("\\n", " ").split()


def _may_exist(entry: str) -> bool:
    address = urlsplit(entry)
    if address.scheme not in ("", "file"):
        return True
    path = unquote(address.path)
    return not path.startswith("/") or Path(path).exists()


def run(command: list[str], environment: dict[str, str] | None = None) -> bool:
    """Return whether a command succeeds."""
    return subprocess.run(command, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    main()

"""compose.yaml: its references, and what may listen where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploy.checks.commands import locked_version, unknown_options, unknown_variables

#: the one that may listen outside, which needs root for its ports but no other right of root
PROXY = "proxy"
OURS = "hpsearch:"


def check_compose(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a compose file."""
    services: dict[str, dict[str, Any]] = document["services"]
    problems = [
        f"{name}: {problem}"
        for name, service in services.items()
        for check in (_references, _hardening, _image, _command, _ray)
        for problem in check(name, service, document)
    ]
    return problems + list(_unused(document))


def _references(name: str, service: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    for kind, used in _used(service):
        if used not in (document.get(kind) or {}):
            yield f"{kind}: {used} is not defined"
    for other in service.get("depends_on", {}):
        if "healthcheck" not in document["services"].get(other, {}):
            yield f"depends_on: there is no {other} with a health check"
    for variable, path in service.get("environment", {}).items():
        secret = str(path).removeprefix("/run/secrets/")
        if secret != path and secret not in _secrets(service):
            yield f"environment: {variable} names the secret {secret}, which it doesn't get"
    yield from _hosts(name, service, document)


def _hosts(name: str, service: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    """Check that the hosts of a command are services on a network of its own."""
    for part in service.get("command", ()):
        for host in re.findall(r"(?:://(?:\w+@)?|address=)([a-z-]+):\d+", part):
            other = document["services"].get(host)
            if other is None:
                yield f"command: there is no service {host}"
            elif not set(other["networks"]) & set(service["networks"]):
                yield f"command: {host} is on none of its networks"


def _used(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        if not source.startswith(("/", ".")):
            yield "volumes", source
    yield from (("networks", network) for network in service["networks"])
    yield from (("secrets", secret) for secret in _secrets(service))


def _secrets(service: dict[str, Any]) -> list[str]:
    secrets = service.get("secrets", ())
    return [each if isinstance(each, str) else each["source"] for each in secrets]


def _hardening(name: str, service: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    if service.get("cap_drop") != ["ALL"]:
        yield "cap_drop: must be [ALL]"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "security_opt: must hold no-new-privileges:true"
    for key in ("healthcheck", "mem_limit", "restart"):
        if key not in service:
            yield f"{key}: must be given"
    for port in service.get("ports", ()):
        if name != PROXY and not port.startswith("127.0.0.1:"):
            yield f"ports: {port} must be of 127.0.0.1: the proxy alone listens outside"
    if service.get("privileged") or service.get("network_mode") == "host":
        yield "must not be privileged, nor on the host's network"
    is_ours = service["image"].startswith(OURS)  # the image sets its user
    if name != PROXY and not is_ours and str(service.get("user", "0")).startswith("0"):
        yield "user: must not be root"


def _image(name: str, service: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    yield from image_problems(service["image"])


def image_problems(image: str) -> Iterator[str]:
    """Check that an image names one version, ours that of Ray too."""
    tag = image.rpartition(":")[2]
    if not re.match(r"\d+\.\d+", tag):
        yield f"image: {image} must name a version"
    version = locked_version("ray")
    if image.rpartition("/")[2].startswith(OURS) and not tag.endswith(f"-ray{version}"):
        yield f"image: {image} must end in -ray{version}, the version in requirements.lock"


def _command(name: str, service: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    for problem in unknown_options(service.get("command", [""])):
        yield f"command: {problem}"
    for problem in unknown_variables(set(service.get("environment", {}))):
        yield f"environment: {problem}"


def _ray(name: str, service: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    command = service.get("command", [])
    if command[:2] not in (["ray", "start"], ["hpsearch", "serve"]):
        return
    if service["environment"].get("RAY_AUTH_MODE") != "token":
        yield "environment: RAY_AUTH_MODE must be token"
    if "--head" in command and "--num-cpus=0" not in command:
        yield "command: the head must have --num-cpus=0"


def _unused(document: dict[str, Any]) -> Iterator[str]:
    used = {pair for service in document["services"].values() for pair in _used(service)}
    for kind in ("volumes", "networks", "secrets"):
        for name in document.get(kind) or {}:
            if (kind, name) not in used:
                yield f"{kind}: nobody uses {name}"

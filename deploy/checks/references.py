"""Rendered manifests: does all that they name exist, and can it be reached?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deploy.checks.kubernetes import Manifest, Pod, name_of, pods_of


def check_references(manifests: list[Manifest]) -> list[str]:
    """Return the names of Secrets, keys, volumes, Services and ports that lead nowhere."""
    found = _Named(manifests)
    problems = [
        f"{pod.name}: {problem}"
        for pod in pods_of(manifests)
        for problem in (*_secrets(pod, found), *_volumes(pod, found), *_hosts(pod, found))
    ]
    checks = {
        "Service": _service,
        "Ingress": _ingress,
        "NetworkPolicy": _policy,
        "RayCluster": _ray_cluster,
    }
    for manifest in manifests:
        check = checks.get(manifest["kind"])
        if check is not None:
            problems += [f"{name_of(manifest)}: {each}" for each in check(manifest, found)]
    return problems


class _Named:
    """What manifests can name."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.pods = pods_of(manifests)
        self.secrets: dict[str, set[str]] = {}
        self.claims: set[str] = set()
        self.services: dict[str, dict[int, str]] = {}  # ports with their names
        for manifest in manifests:
            name, spec = manifest["metadata"]["name"], manifest.get("spec", {})
            match manifest["kind"]:
                case "Secret":
                    self.secrets[name] = {
                        *manifest.get("data", {}),
                        *manifest.get("stringData", {}),
                    }
                case "PersistentVolumeClaim":
                    self.claims.add(name)
                case "Service":
                    ports = {port["port"]: port.get("name", "") for port in spec["ports"]}
                    self.services[name] = ports
                case "RayCluster":  # the operator makes it
                    ports = {6379: "gcs-server", 8265: "dashboard"}
                    self.services[f"{name}-head-svc"] = ports

    def missing_key(self, secret: str, key: str) -> list[str]:
        """Return a problem if a Secret has no such key."""
        has = key in self.secrets.get(secret, ())
        return [] if has else [f"there is no Secret {secret} with a key {key}"]


def _secrets(pod: Pod, found: _Named) -> Iterator[str]:
    files = {}
    for volume in pod.spec.get("volumes", ()):
        if "secret" in volume:
            name = volume["secret"]["secretName"]
            for item in volume["secret"]["items"]:
                yield from found.missing_key(name, item["key"])
            files[volume["name"]] = {item["path"] for item in volume["secret"]["items"]}
    for container in pod.containers:
        for entry in container.get("env", ()):
            reference = entry.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                yield from found.missing_key(reference["name"], reference["key"])
        mounts = {each["mountPath"]: each["name"] for each in container.get("volumeMounts", ())}
        texts = [
            *container.get("args", ()),
            *(e.get("value", "") for e in container.get("env", ())),
        ]
        for path in re.findall(r"/run/secrets/\S+", " ".join(texts)):
            folder, _, file = path.rpartition("/")
            if file not in files.get(mounts.get(folder, ""), ()):
                yield f"{container['name']}: {path} is not mounted"


def _volumes(pod: Pod, found: _Named) -> Iterator[str]:
    volumes = {each["name"] for each in pod.spec.get("volumes", ())} | set(pod.claims)
    for volume in pod.spec.get("volumes", ()):
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim is not None and claim not in found.claims:
            yield f"there is no PersistentVolumeClaim {claim}"
    used = {
        mount["name"]
        for container in pod.containers
        for mount in container.get("volumeMounts", ())
    }
    yield from (f"volume {name} is not defined" for name in sorted(used - volumes))
    yield from (f"volume {name} is not mounted" for name in sorted(volumes - used))


def _hosts(pod: Pod, found: _Named) -> Iterator[str]:
    for container in pod.containers:
        text = " ".join(container.get("args", ()))
        for host, port in re.findall(r"://(?:\w+@)?([a-z][a-z-]*):(\d+)", text):
            if int(port) not in found.services.get(host, {}):
                yield f"{container['name']}: there is no Service {host} with a port {port}"


def _service(manifest: Manifest, found: _Named) -> Iterator[str]:
    spec = manifest["spec"]
    if spec.get("type", "ClusterIP") != "ClusterIP":
        yield "type: must be ClusterIP: the ingress alone listens outside"
    pods = [pod for pod in found.pods if _selects(spec["selector"], pod)]
    if not pods:
        yield "selector: selects no pod"
    for pod in pods:
        for port in spec["ports"]:
            if port.get("targetPort", port["port"]) not in _listens(pod):
                yield f"ports: {pod.name} does not listen on {port['port']}"


def _ingress(manifest: Manifest, found: _Named) -> Iterator[str]:
    spec = manifest["spec"]
    encrypted = {host for entry in spec.get("tls", ()) for host in entry["hosts"]}
    for rule in spec["rules"]:
        if rule["host"] not in encrypted:
            yield f"tls: must name {rule['host']}"
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            name, port = backend["name"], backend["port"]["name"]
            if port not in found.services.get(name, {}).values():
                yield f"there is no Service {name} with a port {port}"


def _policy(manifest: Manifest, found: _Named) -> Iterator[str]:
    spec = manifest["spec"]
    selected = [pod for pod in found.pods if _selects_by(spec["podSelector"], pod)]
    if not selected:
        yield "podSelector: selects no pod"
    for rule in spec.get("ingress", ()):
        for peer in rule["from"]:
            if "podSelector" in peer and not any(
                _selects_by(peer["podSelector"], pod) for pod in found.pods
            ):
                yield f"from: {peer['podSelector']} selects no pod"
        for port in rule.get("ports", ()):
            if not any(port["port"] in _listens(pod) for pod in selected):
                yield f"ports: no selected pod listens on {port['port']}"


def _ray_cluster(manifest: Manifest, found: _Named) -> Iterator[str]:
    spec = manifest["spec"]
    yield from found.missing_key(spec["authOptions"]["secretName"], "auth_token")
    state = spec["gcsFaultToleranceOptions"]
    reference = state["redisPassword"]["valueFrom"]["secretKeyRef"]
    yield from found.missing_key(reference["name"], reference["key"])
    host, _, port = state["redisAddress"].rpartition(":")
    if int(port) not in found.services.get(host, {}):
        yield f"there is no Service {host} with a port {port}"


def _selects(labels: dict[str, str], pod: Pod) -> bool:
    return labels.items() <= pod.labels.items()


def _selects_by(selector: dict[str, Any], pod: Pod) -> bool:
    expressions = selector.get("matchExpressions", ())
    return _selects(selector.get("matchLabels", {}), pod) and all(
        pod.labels.get(each["key"]) in each["values"] for each in expressions
    )


def _listens(pod: Pod) -> set[int]:
    return {
        port["containerPort"]
        for container in pod.containers
        for port in container.get("ports", ())
    }

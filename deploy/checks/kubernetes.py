"""Rendered manifests of Kubernetes: their schemas, and what a pod must be."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from deploy.checks.commands import DEPLOY, locked_version, unknown_options, unknown_variables
from deploy.checks.compose import image_problems

VERSION = "1.34"
Manifest = dict[str, Any]
KUBERAY = DEPLOY / "kuberay"


@dataclass(frozen=True)
class Pod:
    """What a workload makes."""

    name: str
    labels: dict[str, str]
    spec: dict[str, Any]
    #: of volumes that the workload itself claims
    claims: tuple[str, ...] = ()

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All of its containers."""
        return [*self.spec["containers"], *self.spec.get("initContainers", ())]


def render(overlay: str) -> list[Manifest]:
    """Return the manifests of an overlay, with secrets made for the occasion; needs kubectl."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(KUBERAY, Path(folder) / "kuberay")
        secrets = copy / "overlays" / overlay / "secrets"
        shutil.rmtree(secrets, ignore_errors=True)
        subprocess.run([DEPLOY / "make-secrets", secrets], check=True)
        command = ["kubectl", "kustomize", str(copy / "overlays" / overlay)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def pods_of(manifests: list[Manifest]) -> list[Pod]:
    """Return the pods of all workloads."""
    return [pod for manifest in manifests for pod in _pods(manifest)]


def check_schemas(manifests: list[Manifest], ray_schema: Path | None) -> list[str]:
    """Check manifests against Kubernetes' schemas and, if it is there, KubeRay's definition."""
    problems = []
    for manifest in manifests:
        try:
            if manifest["kind"] != "RayCluster":
                kubernetes_validate.validate(manifest, VERSION, strict=True)
            elif ray_schema is not None:
                _ray_validator(ray_schema).validate(manifest)
        except jsonschema.ValidationError as error:
            problems.append(f"{name_of(manifest)}: {error.json_path}: {error.message[:300]}")
    return problems


def check_pods(manifests: list[Manifest]) -> list[str]:
    """Check what must hold of every pod, and of Ray's."""
    problems = [
        f"{pod.name}: {problem}"
        for pod in pods_of(manifests)
        for problem in (*_pod_problems(pod), *_container_problems(pod))
    ]
    for manifest in manifests:
        if manifest["kind"] == "RayCluster":
            problems += [f"{name_of(manifest)}: {each}" for each in _ray_problems(manifest)]
    return problems


def name_of(manifest: Manifest) -> str:
    """Return a manifest's kind and name."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def _pods(manifest: Manifest) -> Iterator[Pod]:
    spec, name = manifest.get("spec", {}), name_of(manifest)
    if manifest["kind"] in ("Deployment", "StatefulSet"):
        template = spec["template"]
        claims = [each["metadata"]["name"] for each in spec.get("volumeClaimTemplates", ())]
        yield Pod(name, template["metadata"]["labels"], template["spec"], tuple(claims))
    if manifest["kind"] == "RayCluster":
        groups = {"head": [spec["headGroupSpec"]], "worker": spec["workerGroupSpecs"]}
        for node_type, found in groups.items():
            labels = {
                "ray.io/cluster": manifest["metadata"]["name"],
                "ray.io/node-type": node_type,
            }
            for group in found:
                yield Pod(f"{name} {node_type}", labels, group["template"]["spec"])


def _pod_problems(pod: Pod) -> Iterator[str]:
    security = pod.spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "securityContext: must set runAsNonRoot and runAsUser"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "securityContext: must set seccompProfile RuntimeDefault"
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield f"{key}: must not be set"
    # The autoscaler, on the head, starts and ends workers.
    is_head = pod.labels.get("ray.io/node-type") == "head"
    if not is_head and pod.spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken: must be false"


def _container_problems(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        yield from image_problems(container["image"])
        security = container.get("securityContext", {})
        if security.get("allowPrivilegeEscalation") is not False:
            yield f"{container['name']}: allowPrivilegeEscalation must be false"
        if security.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']}: capabilities must drop ALL"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", ())):
            yield f"{container['name']}: resources must request cpu and memory"
        if "memory" not in resources.get("limits", ()):
            yield f"{container['name']}: resources must limit memory"
        if any("hostPort" in port for port in container.get("ports", ())):
            yield f"{container['name']}: must not take a port of the host"
        names = {entry["name"] for entry in container.get("env", ())}
        yield from unknown_variables(names)
        yield from unknown_options(container.get("args") or [""])


def _ray_problems(manifest: Manifest) -> Iterator[str]:
    spec = manifest["spec"]
    if spec["rayVersion"] != locked_version("ray"):
        yield f"rayVersion: must be {locked_version('ray')}, the version in requirements.lock"
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "authOptions.mode: must be token"
    if spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield 'headGroupSpec.rayStartParams.num-cpus: must be "0"'
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        options = [f"--{name}" for name in group["rayStartParams"]]
        yield from unknown_options(["ray", "start", *options])


@cache
def _ray_validator(path: Path) -> jsonschema.Draft7Validator:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the file is large
    versions = yaml.load(path.read_text(), loader)["spec"]["versions"]
    schema = next(each["schema"] for each in versions if each["name"] == "v1")
    return jsonschema.Draft7Validator(_strict(schema["openAPIV3Schema"]))


def _strict(schema: Any) -> Any:
    """Return a schema that refuses keys it doesn't know; Kubernetes would drop them silently."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    properties = schema.get("properties")
    is_open = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(properties, dict) and "type" in schema and not is_open:
        strict.setdefault("additionalProperties", False)
    return strict

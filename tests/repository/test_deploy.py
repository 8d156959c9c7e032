"""The files of deploy/: they are in order, and each check finds the mistake that it is for."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("kubernetes_validate")

from deploy.checks.__main__ import ray_schema
from deploy.checks.commands import DEPLOY
from deploy.checks.compose import check_compose
from deploy.checks.kubernetes import check_pods, check_schemas, render
from deploy.checks.ray_up import check_ray_up
from deploy.checks.references import check_references
from hpsearch.service.api.monitoring import router

ROOT = DEPLOY.parent
Change = Callable[[dict[str, Any]], Any]
OVERLAYS = ("production", "small")
needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")


def read(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / path).read_text())
    return found


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    return render(overlay)


def check_manifests(manifests: list[dict[str, Any]]) -> list[str]:
    found = check_schemas(manifests, ray_schema())
    return [*found, *check_pods(manifests), *check_references(manifests)]


def test_compose_is_in_order() -> None:
    assert check_compose(read("compose.yaml")) == []


@pytest.mark.parametrize("name", ["aws", "on-premise"])
def test_ray_up_is_in_order(name: str) -> None:
    assert check_ray_up(read(f"ray-up/{name}.yaml")) == []


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_is_in_order(overlay: str) -> None:
    assert check_manifests(rendered(overlay)) == []


COMPOSE: list[tuple[Change, str]] = [
    (lambda s: s["postgres"].update(ports=["5432:5432"]), "postgres: ports: 5432:5432 must be of"),
    (
        lambda s: s["ray-head"]["command"].remove("--num-cpus=0"),
        "ray-head: command: the head must",
    ),
    (lambda s: s["ray-worker"]["environment"].pop("RAY_AUTH_MODE"), "RAY_AUTH_MODE must be token"),
    (lambda s: s["mlflow"]["command"].append("--tls"), "mlflow: has no option --tls"),
    (lambda s: s["service"].update(secrets=["ray_token"]), "names the secret service_database"),
    (lambda s: s["service"].update(image="hpsearch:0.1.0-ray2.59.0"), "must end in -ray"),
    (lambda s: s["postgres"].update(image="postgres:latest"), "must name a version"),
    (lambda s: s["postgres"].pop("user"), "postgres: user: must not be root"),
    (lambda s: s["mlflow"].pop("cap_drop"), "mlflow: cap_drop: must be [ALL]"),
    (lambda s: s["mlflow"].pop("healthcheck"), "there is no mlflow with a health check"),
    (lambda s: s["mlflow"].update(networks=["ray"]), "mlflow is on none of its networks"),
    (lambda s: s["ray-worker"].update(volumes=["shared:/runs"]), "volumes: shared is not defined"),
    (
        lambda s: s["service"]["environment"].update(HPSEARCH_X="1"),
        "HPSEARCH_X: hpsearch does not",
    ),
]


@pytest.mark.parametrize(("change", "problem"), COMPOSE)
def test_a_mistake_in_compose_is_found(change: Change, problem: str) -> None:
    document = copy.deepcopy(read("compose.yaml"))
    change(document["services"])
    assert problem in "\n".join(check_compose(document))


RAY_UP: list[tuple[Change, str]] = [
    (lambda d: d.update(head_node="x"), "'head_node' was unexpected"),
    (lambda d: d["file_mounts"].clear(), "must hold ~/.ray/auth_token"),
    (lambda d: d["docker"]["run_options"].clear(), "must hold --env RAY_AUTH_MODE=token"),
    (lambda d: d.update(worker_start_ray_commands=["ray start"]), "must set RAY_AUTH_MODE=token"),
    (
        lambda d: d.update(
            head_start_ray_commands=["ray start --dashboard-host=0.0.0.0 --cpus=0"]
        ),
        "has no option --cpus",
    ),
    (lambda d: d.update(head_node_type="main"), "head_node_type: must be one of head, gpu"),
]


@pytest.mark.parametrize(("change", "problem"), RAY_UP)
def test_a_mistake_in_ray_up_is_found(change: Change, problem: str) -> None:
    document = read("ray-up/aws.yaml")
    change(document)
    assert problem in "\n".join(check_ray_up(document))


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


KUBERNETES: list[tuple[str, Change, str]] = [
    ("Deployment/mlflow", lambda m: m["spec"].update(replica=2), "'replica' was unexpected"),
    ("Deployment/mlflow", lambda m: container(m).pop("resources"), "must request cpu and memory"),
    ("Deployment/mlflow", lambda m: container(m).pop("securityContext"), "must drop ALL"),
    ("Deployment/service", lambda m: container(m)["args"].append("--gpus=1"), "no option --gpus"),
    (
        "Deployment/service",
        lambda m: container(m)["volumeMounts"].pop(),
        "ray_token is not mounted",
    ),
    (
        "Deployment/service",
        lambda m: m["spec"]["template"]["spec"]["securityContext"].pop("runAsUser"),
        "must set runAsNonRoot and runAsUser",
    ),
    ("Service/mlflow", lambda m: m["spec"].update(type="NodePort"), "type: must be ClusterIP"),
    (
        "Service/mlflow",
        lambda m: m["spec"]["ports"][0].update(port=5001),
        "there is no Service mlflow with a port 5000",
    ),
    ("Service/redis", lambda m: m["spec"].update(selector={"app": "x"}), "selects no pod"),
    (
        "Secret/hpsearch",
        lambda m: m["data"].pop("mlflow_store"),
        "no Secret hpsearch with a key mlflow_store",
    ),
    ("Secret/hpsearch-ray", lambda m: m["data"].clear(), "hpsearch-ray with a key auth_token"),
    (
        "PersistentVolumeClaim/runs",
        lambda m: m["metadata"].update(name="run"),
        "there is no PersistentVolumeClaim runs",
    ),
    (
        "RayCluster/hpsearch",
        lambda m: m["spec"].update(rayVersion="2.59.0"),
        "rayVersion: must be",
    ),
    (
        "RayCluster/hpsearch",
        lambda m: m["spec"]["authOptions"].update(mode="disabled"),
        "authOptions.mode: must be token",
    ),
    (
        "RayCluster/hpsearch",
        lambda m: m["spec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": "4"}),
        "num-cpus: must be",
    ),
    ("Ingress/service", lambda m: m["spec"].pop("tls"), "tls: must name hpsearch.example.com"),
    (
        "NetworkPolicy/mlflow",
        lambda m: m["spec"]["ingress"][0].update(ports=[{"port": 80}]),
        "no selected pod listens on 80",
    ),
]


@needs_kubectl
@pytest.mark.parametrize(("name", "change", "problem"), KUBERNETES)
def test_a_mistake_in_a_manifest_is_found(name: str, change: Change, problem: str) -> None:
    kind, _, own = name.partition("/")
    manifests = copy.deepcopy(rendered("production"))
    change(next(m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, own)))
    assert problem in "\n".join(check_manifests(manifests))


@needs_kubectl
@pytest.mark.skipif(ray_schema() is None, reason="KubeRay's definition is not here")
def test_an_unknown_key_of_a_ray_cluster_is_found() -> None:
    manifests = copy.deepcopy(rendered("production"))
    cluster = next(each for each in manifests if each["kind"] == "RayCluster")
    cluster["spec"]["workerGroupSpecs"][0]["maxReplica"] = 9
    assert "'maxReplica' was unexpected" in "\n".join(check_schemas(manifests, ray_schema()))


def test_probes_ask_for_routes_that_there_are() -> None:
    routes = {getattr(route, "path", "") for route in router.routes}
    manifest = next(yaml.safe_load_all((DEPLOY / "kuberay/base/service.yaml").read_text()))
    for manifest in yaml.safe_load_all((DEPLOY / "kuberay/base/service.yaml").read_text()):
        if manifest["kind"] == "Deployment":
            probes = [container(manifest)[f"{kind}Probe"] for kind in ("startup", "readiness")]
            assert {probe["httpGet"]["path"] for probe in probes} <= routes
    test = read("compose.yaml")["services"]["service"]["healthcheck"]["test"]
    assert test[-1].endswith("/health")


def test_the_image_is_built_from_what_there_is() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text, re.MULTILINE)
    assert copied
    assert all((ROOT / name).exists() for line in copied for name in line.split())
    extras = re.search(r"'\.\[(.+)\]'", text)
    assert extras is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    assert re.search(r"^USER 1000:1000$", text, re.MULTILINE)


def test_a_program_gets_its_secrets_from_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://me:a'b $c@host/db")
    shown = subprocess.run(
        [DEPLOY / "entrypoint.sh", "sh", "-c", 'printf %s "$HPSEARCH_DB"'],
        env={"PATH": os.environ["PATH"], "HPSEARCH_DB_FILE": str(tmp_path / "url")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "postgresql://me:a'b $c@host/db"


def test_a_program_does_not_start_without_its_secret(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD_FILE": str(tmp_path / "none")}
    command = [DEPLOY / "entrypoint.sh", "echo", "started"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode != 0, done.stdout) == (True, "")


def test_secrets_are_made_once(tmp_path: Path) -> None:
    make = [DEPLOY / "make-secrets", tmp_path / "secrets"]
    subprocess.run(make, check=True)
    kept = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert not any(text.endswith("\n") for name, text in kept.items() if name != "roles.sql")
    assert len(kept["ray_token"]) >= 64
    again = subprocess.run(make, check=False, capture_output=True)
    assert again.returncode != 0
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == kept


def table(first: str) -> list[dict[str, str]]:
    """The rows of the table of the README whose first column has this head."""
    lines = (DEPLOY / "README.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    names = [name.removeprefix("reaches ") for name in rows[0]]
    return [dict(zip(names, row, strict=True)) for row in rows[2:]]


PROCESSES = ("service", "mlflow", "postgres", "ray-head", "ray-worker")
#: of Kubernetes alone
OF_KUBERNETES = "redis_password"


def told_secrets() -> dict[str, set[str]]:
    """Who can read each secret that is a file, as the README says."""
    return {
        name: {each for each in PROCESSES if row[each] == "yes"}
        for row in table("secret")
        for name in re.findall(r"`([\w.]+)`", row["secret"])
    }


def test_the_readme_says_who_has_which_secret_in_compose() -> None:
    services = read("compose.yaml")["services"]
    found: dict[str, set[str]] = {}
    for name, service in services.items():
        for secret in service.get("secrets", ()):
            source = secret if isinstance(secret, str) else secret["source"]
            found.setdefault(source, set()).add(name)
    told = told_secrets()
    assert found == {name: who for name, who in told.items() if name != OF_KUBERNETES}
    for service in services.values():  # and none of them stands in a file that others can read
        assert not re.search(r"(?i)password|token|secret", str(_values(service["environment"])))


def _values(environment: dict[str, str]) -> list[str]:
    return [
        value
        for value in map(str, environment.values())
        if not value.startswith("/run/secrets/") and value != "token"
    ]


def pods() -> dict[str, list[dict[str, Any]]]:
    """The pods of the manifests, by what the README calls them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((DEPLOY / "kuberay/base").glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            spec = manifest.get("spec", {})
            if manifest["kind"] in ("Deployment", "StatefulSet"):
                found[manifest["metadata"]["name"]] = [spec["template"]["spec"]]
            elif manifest["kind"] == "RayCluster":
                found["ray-head"] = [spec["headGroupSpec"]["template"]["spec"]]
                found["ray-worker"] = [
                    each["template"]["spec"] for each in spec["workerGroupSpecs"]
                ]
                found["ray-options"] = [spec["gcsFaultToleranceOptions"]]
    return found


def keys_of(value: Any) -> set[str]:
    """The keys of the Secret `hpsearch` that a pod is given, by mounts or variables."""
    if isinstance(value, dict):
        found = {key for each in value.values() for key in keys_of(each)}
        if value.get("secretName") == "hpsearch":
            assert value["items"], "a mount of a whole Secret would hold all of them"
            found |= {item["key"] for item in value["items"]}
        if value.get("name") == "hpsearch" and "key" in value:
            found.add(value["key"])
        return found
    return {key for each in value for key in keys_of(each)} if isinstance(value, list) else set()


def test_the_readme_says_who_has_which_secret_on_kubernetes() -> None:
    given = {name: keys_of(specs) for name, specs in pods().items()}
    given["ray-head"] |= given.pop("ray-options")  # the operator gives it to the head
    found: dict[str, set[str]] = {}
    for name in PROCESSES:
        for key in given[name]:
            found.setdefault(key, set()).add(name)
    for name in ("ray-head", "ray-worker"):  # by authOptions, to all of Ray's nodes
        found["ray_token"].add(name)
    assert found == told_secrets()


def test_the_readme_says_who_reaches_whom_in_compose() -> None:
    services = read("compose.yaml")["services"]
    networks = {name: set(services[name]["networks"]) for name in PROCESSES}
    told = {
        row["from"]: {each for each in PROCESSES if row[each] == "yes"} for row in table("from")
    }
    allowed = {(name, other) for name, others in told.items() for other in others}
    for name in PROCESSES:
        for other in PROCESSES:
            if name != other and networks[name] & networks[other]:
                # who answers a network need not be asked by it, but may be
                assert (name, other) in allowed or (other, name) in allowed, (name, other)
    for name, other in allowed:
        assert name == other or networks[name] & networks[other], (name, other)


def test_the_readme_says_who_reaches_whom_on_kubernetes() -> None:
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in yaml.safe_load_all((DEPLOY / "kuberay/base/network.yaml").read_text())
    }
    labels = {
        "service": {"app": "service"},
        "mlflow": {"app": "mlflow"},
        "postgres": {"app": "postgres"},
        "ray-head": {"ray.io/cluster": "hpsearch", "ray.io/node-type": "head"},
        "ray-worker": {"ray.io/cluster": "hpsearch", "ray.io/node-type": "worker"},
    }

    def lets_in(target: str, who: str) -> bool:
        policy = policies["ray" if target.startswith("ray") else target]
        selectors = [
            source["podSelector"]["matchLabels"]
            for rule in policy["ingress"]
            for source in rule["from"]
            if "podSelector" in source
        ]
        return any(labels[who].items() >= selector.items() for selector in selectors)

    for row in table("from"):
        for other in PROCESSES:
            is_rays_own = row["from"] == "service" and other == "ray-worker"  # one policy for both
            if row["from"] != other and not is_rays_own:
                assert lets_in(other, row["from"]) == (row[other] == "yes"), (row["from"], other)


def test_no_node_of_ray_up_has_another_secret_than_the_readme_says() -> None:
    told = told_secrets()
    for name in ("aws", "on-premise"):
        document = read(f"ray-up/{name}.yaml")
        given = {Path(each).name for each in document["file_mounts"].values()}
        assert given == {key for key, who in told.items() if "ray-head" in who} - {OF_KUBERNETES}
        assert "mlflow" not in str(document["docker"])


def test_ray_reaches_mlflow_by_the_service_alone() -> None:
    commands = [
        read("compose.yaml")["services"]["service"]["command"],
        pods()["service"][0]["containers"][0]["args"],
    ]
    for command in commands:
        assert "--own-url=http://service:8400" in command
    for command in (
        read("compose.yaml")["services"]["mlflow"]["command"],
        pods()["mlflow"][0]["containers"][0]["args"],
    ):
        assert "--app-name=hpsearch" in command

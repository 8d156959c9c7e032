"""Check all files of deploy/: `python -m deploy.checks`, which `make check` runs."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.checks.commands import DEPLOY
from deploy.checks.compose import check_compose
from deploy.checks.kubernetes import KUBERAY, check_pods, check_schemas, render
from deploy.checks.ray_up import check_ray_up
from deploy.checks.references import check_references


def ray_schema() -> Path | None:
    """Return KubeRay's definition of a RayCluster, if it is on this machine."""
    beside = DEPLOY.parents[1] / "shared" / "schemas" / "ray.io_rayclusters.yaml"
    path = Path(os.environ.get("RAYCLUSTER_DEFINITION", beside))
    return path if path.is_file() else None


def problems() -> Iterator[str]:
    """Yield what is wrong in any file."""
    compose = DEPLOY / "compose.yaml"
    yield from _named(compose, check_compose(yaml.safe_load(compose.read_text())))
    for cluster in (DEPLOY / "ray-up" / "aws.yaml", DEPLOY / "ray-up" / "on-premise.yaml"):
        yield from _named(cluster, check_ray_up(yaml.safe_load(cluster.read_text())))
    if shutil.which("kubectl") is None:
        print("deploy/kuberay is not checked: that needs kubectl", file=sys.stderr)
        return
    for overlay in sorted((KUBERAY / "overlays").iterdir()):
        manifests = render(overlay.name)
        checked = check_schemas(manifests, ray_schema())
        yield from _named(
            overlay, [*checked, *check_pods(manifests), *check_references(manifests)]
        )


def _named(path: Path, found: list[str]) -> Iterator[str]:
    yield from (f"{path.relative_to(DEPLOY.parent)}: {each}" for each in found)


if __name__ == "__main__":
    if ray_schema() is None:
        print("RayCluster is not checked: RAYCLUSTER_DEFINITION names no file", file=sys.stderr)
    wrong = list(problems())
    print("\n".join(wrong) or "deploy/ is in order")
    raise SystemExit(bool(wrong))

"""The files of `ray up`: Ray's own schema, and what every node must have."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import ray.autoscaler

from deploy.checks.commands import unknown_options
from deploy.checks.compose import image_problems

SCHEMA = Path(ray.autoscaler.__file__).with_name("ray-schema.json")


def check_ray_up(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a cluster's file."""
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    return problems + list(_rules(document))


def _rules(document: dict[str, Any]) -> Iterator[str]:
    yield from image_problems(document["docker"]["image"])
    if "~/.ray/auth_token" not in document["file_mounts"]:
        yield "file_mounts: must hold ~/.ray/auth_token, or nodes start open to all"
    if "--env RAY_AUTH_MODE=token" not in document["docker"]["run_options"]:
        yield "docker.run_options: must hold --env RAY_AUTH_MODE=token"
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        start = next((each for each in document[key] if "ray start" in each), "")
        if "RAY_AUTH_MODE=token" not in start:
            yield f"{key}: must set RAY_AUTH_MODE=token"
        for problem in unknown_options(shlex.split(start.rpartition(";")[2])):
            yield f"{key}: {problem}"
        if key.startswith("head") and "--num-cpus=0" not in start:
            yield f"{key}: the head must have --num-cpus=0"
        if re.search(r"--dashboard-host=(0\.0\.0\.0|::)", start):
            yield f"{key}: the dashboard must not listen everywhere"
    types = document.get("available_node_types", {})
    if types and document.get("head_node_type") not in types:
        yield f"head_node_type: must be one of {', '.join(types)}"

"""Health, readiness and Prometheus' metrics."""

from __future__ import annotations

import math
from typing import Any

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, Response

from hpsearch.service.core import Service
from hpsearch.service.database.search_table import ACTIVE, ENDED
from hpsearch.service.http.auth import TheService, TheUser
from hpsearch.service.http.errors import PlainJson, error_response
from hpsearch.service.summaries import finite

router = APIRouter(tags=["monitoring"])
#: seconds without a pass of any reconciler after which the service isn't ready
MAX_LAG_S = 120.0
_TOTALS = {
    "epochs": "epochs trained",
    "epochs_saved": "epochs that early stopping saved",
    "gpu_seconds": "GPU-seconds used, by the service's clock",
    "gpu_seconds_saved": "GPU-seconds that early stopping saved",
}


@router.get("/health")
async def health() -> dict[str, str]:
    """Report that the process is alive, even if all threads are busy."""
    return {"status": "ok"}


@router.get("/ready")
def ready(service: TheService) -> Response:
    """Report whether the database and the reconciler work (503 if not)."""
    try:
        lag = service.lease.lag()
    except SQLAlchemyError:
        return error_response(503, "the database can't be reached")
    if lag is None or lag > MAX_LAG_S:
        return error_response(503, f"no pass of a reconciler for {MAX_LAG_S:g} s")
    return PlainJson({"status": "ok"})


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: TheService, user: TheUser) -> Response:
    """Return metrics for Prometheus, with any valid token."""
    return Response(_metrics(service), media_type="text/plain; version=0.0.4; charset=utf-8")


def _metrics(service: Service) -> bytes:
    registry = CollectorRegistry()
    counts = service.table.counts()
    searches = Gauge("hpsearch_searches", "searches by state", ["state"], registry=registry)
    for actual in ("queued", *ACTIVE, *ENDED):
        searches.labels(actual).set(counts.get(actual, 0))
    Gauge("hpsearch_queue_length", "queued searches", registry=registry).set(
        counts.get("queued", 0)
    )
    summaries = service.table.summaries()
    trials = Gauge("hpsearch_trials", "trials by state", ["state"], registry=registry)
    for state in ("running", "completed", "stopped_early", "failed", "cancelled"):
        trials.labels(state).set(_total(summaries, state))
    for name, what in _TOTALS.items():
        total = Gauge(f"hpsearch_{name}", f"{what}, over all searches", registry=registry)
        total.set(_total(summaries, name))
    lag = service.lease.lag()
    gauge = Gauge(
        "hpsearch_reconciler_lag_seconds",
        "seconds since the reconciler's last pass",
        registry=registry,
    )
    gauge.set(math.inf if lag is None else lag)
    return generate_latest(registry)


def _total(summaries: list[dict[str, Any]], name: str) -> float:
    return math.fsum(finite(summary.get(name)) or 0.0 for summary in summaries)

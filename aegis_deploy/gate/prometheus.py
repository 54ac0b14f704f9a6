"""A figure from a Prometheus server."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from aegis_deploy.model.gate_settings import Prometheus

_OK = 200


def shortfall(asked: Prometheus) -> str | None:
    """Ask a query, and say why its answer is not good; None when it is."""
    value = prometheus_value(asked)
    if isinstance(value, str):
        return f"{asked.url} gave no number: {value}"
    if asked.most is not None and value > asked.most:
        return f"{asked.query} is {value:g}; at most {asked.most:g}"
    if asked.least is not None and value < asked.least:
        return f"{asked.query} is {value:g}; at least {asked.least:g}"
    return None


def prometheus_value(asked: Prometheus) -> float | str:
    """Return the number a query gives, or why there is none."""
    import urllib3

    pool = urllib3.PoolManager(retries=False)
    url = f"{asked.url}/api/v1/query?{urlencode({'query': asked.query})}"
    try:
        answer = pool.request("GET", url, timeout=10)
    except urllib3.exceptions.HTTPError as error:
        return str(error)
    try:
        said = json.loads(answer.data)
        if answer.status != _OK or said.get("status") != "success":
            return str(said.get("error", f"HTTP {answer.status}"))
        kind, result = said["data"]["resultType"], said["data"]["result"]
        if kind == "scalar":
            return float(result[1])
        return float(result[0]["value"][1]) if len(result) == 1 else f"{len(result)} series"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"HTTP {answer.status}, not understood: {error}"

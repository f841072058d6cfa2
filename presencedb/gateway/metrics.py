"""What a gateway counts about its own traffic, and the page of metrics that a Prometheus server reads.

Counting happens on every request, so it is plain integers in dicts; they become metrics only when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from presencedb.protocol.info import METRICS, Kind
from presencedb.protocol.info import Metric as NodeMetric
from presencedb.version import __version__

_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BUCKETS_NS: Final = tuple(int(bound * 1e9) for bound in _BUCKETS_S)
_BUCKET_NAMES: Final = (*map(str, _BUCKETS_S), "+Inf")
UNREADABLE: Final = "unreadable"
"""The route, and the method, under which requests are counted that could not be read."""


class Traffic(Collector):
    """The requests of one gateway."""

    def __init__(self) -> None:
        self.auth_failures: Counter[str] = Counter()
        """Refusals to callers whose key or token is missing or not good, by reason."""
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._durations: dict[str, _Durations] = {}

    def count(self, route: str, method: str, status: int, duration_ns: int) -> None:
        """One answer, and how long it took to make."""
        self._requests[route, method, status] += 1
        durations = self._durations.get(route)
        if durations is None:
            durations = self._durations[route] = _Durations()
        durations.observe(duration_ns)

    def count_unreadable(self, status: int) -> None:
        """One answer to what was not an HTTP request."""
        self._requests[UNREADABLE, UNREADABLE, status] += 1

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "presencedb_http_requests", "Answers, by call and status.", labels=("route", "method", "status")
        )
        for (route, method, status), count in self._requests.items():
            requests.add_metric((route, method, str(status)), count)
        yield requests
        durations = HistogramMetricFamily(
            "presencedb_http_request_duration_seconds", "From the head of a request to its answer.", labels=("route",)
        )
        for route, measured in self._durations.items():
            durations.add_metric((route,), measured.buckets(), measured.sum_ns / 1e9)
        yield durations
        failures = CounterMetricFamily(
            "presencedb_http_auth_failures", "Callers refused for their key or token, by reason.", labels=("reason",)
        )
        for reason, count in self.auth_failures.items():
            failures.add_metric((reason,), count)
        yield failures
        yield InfoMetricFamily("presencedb_build", "What runs here.", value={"version": __version__})


class NodeFacts(Collector):
    """The numbers of a node, out of the map that its `info` answers; None: it did not answer."""

    def __init__(self, info: dict[str, Any] | None) -> None:
        self._info = info

    def collect(self) -> Iterator[Metric]:
        info = self._info
        yield GaugeMetricFamily("presencedb_node_up", "Whether the node answered.", value=info is not None)
        for entry, value in (info or {}).items():
            metric = METRICS.get(entry)
            if metric is not None:
                yield _family(metric, value)


def _family(metric: NodeMetric, value: Any) -> Metric:
    if metric.kind is Kind.HISTOGRAM:
        # The sum is not known, and made up it would be taken for true.
        names = ["+Inf" if bound == "inf" else f"{float(bound) * metric.scale:g}" for bound in value]
        buckets = list(zip(names, accumulate(value.values()), strict=True))
        return HistogramMetricFamily(metric.name, metric.help, buckets=buckets, sum_value=None)
    cls = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    if metric.label is None:
        return cls(metric.name, metric.help, value=value * metric.scale)
    family = cls(metric.name, metric.help, labels=(metric.label,))
    for label, count in value.items():
        family.add_metric((str(label),), count * metric.scale)
    return family


class _Durations:
    """A histogram."""

    __slots__ = ("_counts", "sum_ns")

    def __init__(self) -> None:
        self.sum_ns = 0
        self._counts = [0] * len(_BUCKET_NAMES)

    def observe(self, duration_ns: int) -> None:
        self.sum_ns += duration_ns
        self._counts[bisect_left(_BUCKETS_NS, duration_ns)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        return list(zip(_BUCKET_NAMES, accumulate(self._counts), strict=True))


def metrics_page(collectors: Iterable[Collector]) -> bytes:
    """The text that Prometheus reads, of these and of this process."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    ProcessCollector(registry=registry)
    return generate_latest(registry)

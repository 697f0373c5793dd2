"""ktls for Prometheus: every counter and gauge of the tree, and times by backend, at each scrape.

Needs prometheus-client (the extra ``metrics``).  Nothing is counted here: a scrape reads what the
engine has counted, and costs nothing between scrapes.  ``docs/metrics.md`` lists the names.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ktls import _core
from ktls.sysctl import PREFIX, Node, sysctl

__all__ = ["KTLSCollector", "register"]

_TIMES: Final = {
    "seal": ("ktls_seal_seconds", "Time to seal one flush unit"),
    "wait": ("ktls_queue_wait_seconds", "Time from being queued at a worker to the turn"),
}


class KTLSCollector(Collector):
    """What ``ktls.sysctl`` counts in this process, as metrics.

    ``kern.ipc.tls.stats.records`` is ``ktls_records_total``, ``kern.ipc.tls.sw.gcm`` is
    ``ktls_sw_gcm``.  A forked child counts on from what its parent had.
    """

    def describe(self) -> Iterator[Metric]:
        """The same: a registry refuses a second one by its names."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Read everything once."""
        for name, value in sysctl.statistics().items():
            node = sysctl.node(name)
            family = CounterMetricFamily if node.type == "counter" else GaugeMetricFamily
            yield family(metric_name(node), node.help, value=value)
        yield from _times()


def register(registry: CollectorRegistry = REGISTRY) -> KTLSCollector:
    """Add a collector to the registry; the one that ``start_http_server`` shows is the default.

    Raises ValueError when one is there already.
    """
    collector = KTLSCollector()
    registry.register(collector)
    return collector


def metric_name(node: Node) -> str:
    """The metric of a node, without the ``_total`` that a counter is shown with."""
    short = node.name.removeprefix(PREFIX).removeprefix("stats.").removesuffix("_total")
    # A node may have the name of somebody's backend in it.
    return "ktls_" + re.sub(r"\W", "_", short, flags=re.ASCII)


def _times() -> Iterator[Metric]:
    families = {
        what: HistogramMetricFamily(name, text, labels=["backend"])
        for what, (name, text) in _TIMES.items()
    }
    for what, backend, counts, total in _core.histograms():
        bounds = ["+Inf" if bound == float("inf") else repr(bound) for bound, _ in counts]
        sums = accumulate(count for _, count in counts)
        buckets = list(zip(bounds, sums, strict=True))
        families[what].add_metric([backend or "unknown"], buckets=buckets, sum_value=total)
    yield from families.values()

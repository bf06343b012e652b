"""What `GET /metrics` tells, in Prometheus' words.

    request, run ──→ Recorder (one for each loaded version) ──→ Collector ──→ registry ──→ text
                      Manager's statuses ──────────────────────↗

A request costs an append to a list. Histograms and counts are made of many at a time, with NumPy, and the labels when
somebody asks; they are those of the models that are served, so that no client can add one.
"""

from service.metrics.collector import Collector
from service.metrics.families import FAMILIES
from service.metrics.metrics import Metrics

__all__ = ["FAMILIES", "Collector", "Metrics"]

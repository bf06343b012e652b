"""What `GET /metrics` tells, in Prometheus' words.

    Statistics (one for each loaded version) ──→ Collector ──→ registry ──→ text
    Manager's statuses, refusals, devices ─────↗

Nothing is prepared for it while requests are answered: plain counts become metrics when somebody asks, with the labels of
the models that are served, so that no client can add one.
"""

from service.metrics.collector import Collector
from service.metrics.families import FAMILIES
from service.metrics.metrics import Metrics

__all__ = ["FAMILIES", "Collector", "Metrics"]

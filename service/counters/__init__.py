"""Counts of each version: requests, runs and answers, for `/metrics` and the statistics of `/v2`.

Counting each request when it ends costs more than the request itself: threads would wait for each other's locks and work on
small arrays. Therefore samples are collected and counted many at a time; a reader first counts the remaining ones.
"""

from service.counters.statistics import HUNG_UP, BatchSample, BatchTotals, Counts, Rejections, RequestSample, Statistics

__all__ = ["HUNG_UP", "BatchSample", "BatchTotals", "Counts", "Rejections", "RequestSample", "Statistics"]

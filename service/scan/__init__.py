"""What a SavedModel could do besides computing: its operations against an allow-list. No TensorFlow here."""

from service.scan.findings import Finding, refusal
from service.scan.rules import scan

__all__ = ["Finding", "refusal", "scan"]

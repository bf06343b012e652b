"""Traces of predictions as OpenTelemetry spans, which docs/traces.md lists; imported only if the setting `traces` is on."""

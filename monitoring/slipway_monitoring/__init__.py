"""The source of everything that Prometheus and Grafana are given: recording rules, alerts, dashboards.

A developer's tool: `make generate` runs it, and what it writes is committed. It knows the programs only by the metrics
that they expose.
"""

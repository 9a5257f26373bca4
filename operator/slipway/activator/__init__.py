"""Holds requests while no replica is ready, and reports to KEDA which models need replicas.

Three wings that don't import each other: `proxy` handles requests, `tracking` knows the models, `keda` answers KEDA.
They share what is in `shared`, over HTTP/1.1 in `http1`.
"""

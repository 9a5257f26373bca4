"""A real Kubernetes with KServe and KEDA on one Linux machine, without Docker."""

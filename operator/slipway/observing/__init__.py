"""Reads what the cluster shows: pure functions from Kubernetes objects to causes, phases, conditions and status."""

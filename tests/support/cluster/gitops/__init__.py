"""Argo CD and Git repositories, next to a cluster."""

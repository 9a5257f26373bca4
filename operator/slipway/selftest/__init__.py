"""Looks whether all parts of an installation work together, from a pod in it: what `helm test` runs."""

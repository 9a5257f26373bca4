"""Checks from a pod in an installation whether all of its parts work together: what `helm test` runs."""

"""Slipway: one small object on Kubernetes becomes a language model served well."""

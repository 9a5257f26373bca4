"""What the wings share; they don't import each other.

Tracking writes the state of each model, which the proxy reads. The proxy writes the demand for it, which keda reads.
"""

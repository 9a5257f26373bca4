"""A real Prometheus and Alertmanager: their programs, their configuration from our own objects, and what they send."""

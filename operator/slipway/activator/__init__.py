"""Holds requests while no replica is ready, and tells KEDA when replicas are wanted."""

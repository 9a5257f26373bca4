"""What the cluster shows, read: pure functions from Kubernetes objects to causes, phases, conditions and status."""

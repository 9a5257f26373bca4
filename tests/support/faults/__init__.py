"""What can go wrong: requests, processes, parts of a cluster, pods, models, starts of engines."""

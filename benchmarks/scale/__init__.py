"""What `operator_scale.py` is made of: the cluster, the operator's process, the watches, and the figures."""

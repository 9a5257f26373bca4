"""The parts of `operator_scale.py`: the cluster, the operator's process, the story of each object, and figures."""

"""The parts of `weights.py`: the network to the object store, what is compared, and figures."""

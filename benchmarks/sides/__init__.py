"""The parts of `peers.py`: the objects of the other side, the ways by which requests go, and figures."""

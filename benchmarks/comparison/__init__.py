"""The parts of `peers.py`: the objects of the compared product, the endpoints that requests go to, and figures."""

"""The parts of `wake.py`: the moments of a wake, and the picture of it."""

"""The Kubernetes vocabulary: which kinds there are, and how to read what every object has. Pure.

Everything else of Slipway builds on it, and it imports nothing else of Slipway.
"""

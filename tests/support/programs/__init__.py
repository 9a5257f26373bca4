"""Slipway's own programs on this machine, without a cluster: in the test's process, or as processes next to it."""

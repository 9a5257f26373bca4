"""The engines: how each is started, and how its answers are read."""

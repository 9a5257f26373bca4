"""The guard: decides inside the engine's own web app which client may send which requests, and how many."""

"""The guard: who may ask the engine what, and how much, decided inside of the engine's own web app."""

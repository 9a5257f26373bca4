"""Process 1 of a model's pod: starts the engine, watches it, stops it, and reports how it ended."""

"""Process 1 of a model's pod: it starts the engine, stops it cleanly, and reports what happened."""

"""The supervisor of a model pod: starts the engine, stops it cleanly, tells what happened."""

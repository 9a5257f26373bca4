"""Pure: what is known about a model before it runs, and where that is from."""

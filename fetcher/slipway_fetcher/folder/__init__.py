"""The folder on this side: it appears at once and complete, and one process at a time works on it."""

"""What to run next, by the reason of a failure."""

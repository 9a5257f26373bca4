"""What the benchmark of wakes is made of."""

"""Slipway's charts as the real helm renders them, and what the rendered objects are checked against."""

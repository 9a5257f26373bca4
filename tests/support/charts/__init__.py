"""Slipway's charts as the real helm renders them, and what they are checked by."""

"""Strategies that come with AlphaPanda: examples to read, and a null benchmark."""

"""Stage 3: every signal is checked before it can become an order."""

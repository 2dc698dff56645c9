"""Stage 2: strategies, one lane each."""

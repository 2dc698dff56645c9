"""Stage 1: bars and indicators, one lane an instrument."""

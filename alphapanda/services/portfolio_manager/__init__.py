"""Stage 5: positions, cash and equity."""

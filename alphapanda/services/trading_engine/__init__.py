"""Stage 4: orders, and their fills on paper."""

"""The dashboard: each page's states, and real pages in a real browser."""

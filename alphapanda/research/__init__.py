"""What to do with results: runs as frames, statistics, tearsheets, differences."""

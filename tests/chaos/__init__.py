"""Services as real processes over a real broker, killed at every point, stopped, doubled and robbed of what they kept."""

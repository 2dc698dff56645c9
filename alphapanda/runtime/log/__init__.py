"""The log host: the same rooms over a log of partitions, exactly once, from any place."""

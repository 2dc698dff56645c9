"""market_feed, the door: rows from outside become events in one order."""

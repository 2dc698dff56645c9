"""What all rooms share: the handler protocol, the one order, exact money. No I/O, no clock, no randomness."""

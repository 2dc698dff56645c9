"""The rooms: one pure handler per stage."""

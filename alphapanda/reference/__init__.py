"""Dated facts of the market: sessions and charges. Each figure carries its date and source; none is guessed."""

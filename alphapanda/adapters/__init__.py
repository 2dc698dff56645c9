"""The only places that do I/O: each adapter turns one outside thing into plain data."""

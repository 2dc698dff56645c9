"""The contracts: every event, its wire form, its JSON Schema, and the topic table."""

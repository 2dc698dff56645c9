"""Hosts, settings, manifests and the composition root."""

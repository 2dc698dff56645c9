"""The dashboard: a read-only view of runs and sessions, served on the loopback. Streamlit is imported here and nowhere else."""

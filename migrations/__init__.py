"""The schema's history: `python -m migrations` brings the database to its newest version."""

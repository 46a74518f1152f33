"""A mail server for development: it takes every message, keeps it in a folder, and shows it on a page."""

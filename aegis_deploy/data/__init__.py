"""Rows: a masked, whole sample of a PostgreSQL database for another, and rows that are made up."""

"""Rows: a masked, whole sample of one PostgreSQL database for another, and rows that are made up."""

"""Rows that are made up: planned, in an order that checks between columns ask for, loaded."""

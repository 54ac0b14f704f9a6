"""The service's PostgreSQL: how it is reached, what is in it, and what it says of its schema."""

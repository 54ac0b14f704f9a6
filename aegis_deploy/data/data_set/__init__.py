"""A data set: its directory, what it says of itself, its rows as COPY has them."""

"""What values are: what a column takes, what masks make of them, and what is made up."""

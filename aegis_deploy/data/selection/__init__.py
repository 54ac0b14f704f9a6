"""Which rows of which moment a sample consists of."""

"""The command `aegis`: parsing and printing."""

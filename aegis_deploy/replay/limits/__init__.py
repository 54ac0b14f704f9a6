"""What a replay cannot give back, or must not: data, what goes one way, what no record holds."""

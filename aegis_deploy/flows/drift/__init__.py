"""What is live beside what was declared: told, and mended."""

"""What is live against what was declared, and what befell it from outside."""

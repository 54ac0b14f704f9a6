"""What is done to a stack, in which order: deploy, roll back, promote, recover."""

"""What is spoken of changes of a schema: plans, locks, rehearsals, contracts. Pure."""

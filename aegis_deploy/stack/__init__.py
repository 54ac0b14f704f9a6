"""One open stack: its updates and previews, its recorded states, its settings and secrets."""

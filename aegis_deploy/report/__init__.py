"""How a change went, recorded and told: timelines, pages, Markdown, comments."""

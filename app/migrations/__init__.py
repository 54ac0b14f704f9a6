"""The schema's history: one line of revisions, numbered from 1, each an expand or a contract."""

"""The revisions. What a revision did never changes: they import nothing of lockwatch."""

"""The audit log: what happened, in rows that nobody loses unnoticed."""

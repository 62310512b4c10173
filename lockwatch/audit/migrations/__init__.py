"""Migrations of the audit log, for Alembic. They live in the wheel, keep a version table of their own, and see no other table."""

"""What must outlive this process until somebody has it: SQLite files in a directory of our own."""

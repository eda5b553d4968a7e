"""What people read; `docs.tables` writes the tables that come from the code."""

"""What the service keeps: rows in SQL and bytes in a blob store."""

"""What people see: layouts, and what happens when they press something."""

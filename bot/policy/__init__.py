"""What people may request, and their defaults."""

"""What people may ask for and what they get by default; pure."""

"""Asks checkers whether a prompt or a picture is allowed."""

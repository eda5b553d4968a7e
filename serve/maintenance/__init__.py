"""Maintains whole stores: retention, removal of orphaned objects, backups."""

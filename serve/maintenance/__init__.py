"""Work on whole stores: retention, orphaned objects, backups."""

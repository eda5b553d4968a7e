"""The routes of assets: their states, their comments, and the audit log."""

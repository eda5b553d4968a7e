"""The schema's history, run by `serve.storage.schema.upgrade`; a released revision never changes.

A new revision is a file in ``versions/`` that names the one before it as ``down_revision``; a test
compares the result with :mod:`serve.storage.schema.tables`, on SQLite and on PostgreSQL.
"""

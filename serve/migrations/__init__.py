"""The schema's history, run by :mod:`serve.schema`; a revision that was released never changes.

A new revision is a file in ``versions/`` that names the one before it as ``down_revision``; a test
compares the result with :mod:`serve.tables`, on SQLite and on PostgreSQL.
"""

"""Settings of one subject, which are parts of `serve.settings.Settings`."""

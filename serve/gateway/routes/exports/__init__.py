"""``/v1/exports`` and the presets of exports."""

"""The slash commands and message menus."""

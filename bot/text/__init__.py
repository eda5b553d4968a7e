"""The bot's sentences in every language, and text formatting."""

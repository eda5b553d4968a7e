"""The bot's sentences in every language."""

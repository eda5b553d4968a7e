"""The bot's messages and forms, and the files attached to them."""

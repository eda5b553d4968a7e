"""``python -m bot`` is ``cascade bot run``."""

from bot.cli import main

if __name__ == "__main__":
    main()

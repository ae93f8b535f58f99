"""The saver and its care."""

"""The command ``xpconv train``: the course's network on digits or on images of the user's."""

from xpconv._train.command import main

__all__ = ["main"]

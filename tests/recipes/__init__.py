"""Recipes from other libraries, and definitions of those that cannot be installed here."""

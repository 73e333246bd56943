"""What will run: sees shapes and abilities only, and prints."""

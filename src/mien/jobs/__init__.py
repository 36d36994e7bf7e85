"""What a user asks for, whole: files in, files out. No network is defined here."""

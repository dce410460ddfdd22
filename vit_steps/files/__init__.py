"""Files: written at once and whole (writing), read within limits (reading, pictures); the package's only way to the disk."""

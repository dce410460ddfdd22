"""Files: written at once and whole (writing), read within limits (reading, pictures).

The package's only way to the disk.
"""

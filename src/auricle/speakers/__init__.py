"""Who spoke when: voices as vectors, the speakers among them, and their turns."""

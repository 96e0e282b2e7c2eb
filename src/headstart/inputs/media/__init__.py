"""Pictures and sound: files, archives, arrays; processors and extractors."""

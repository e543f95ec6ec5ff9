"""Archives other than the vault, each in a module of its own."""

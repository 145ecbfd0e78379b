"""Runs at scale: evaluate, export, restore, verify and remove them; clusters; a GPU for some minutes."""

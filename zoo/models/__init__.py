"""Published models as objects: find them, load one, ask it, compare several. No training framework."""

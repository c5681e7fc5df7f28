"""What the server counts and says about itself."""

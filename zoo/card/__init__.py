"""The model card: its text, the picture of the model, charts, and pictures of its inside."""

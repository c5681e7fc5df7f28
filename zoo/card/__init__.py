"""The model card: its text, the picture of the model, the plots."""

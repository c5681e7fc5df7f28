"""How bytes reach the api."""

"""Programs that run as servers, each in the environment of its peer; none imports the zoo."""

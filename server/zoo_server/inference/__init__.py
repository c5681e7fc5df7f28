"""From a request to its answer; knows no wire protocol."""

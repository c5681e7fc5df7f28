"""One thin servicer per wire protocol, one status table, one interceptor."""

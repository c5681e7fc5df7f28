"""The wire protocols: thin servicers over one data plane, one status table, one interceptor."""

"""tensorflow_error_codes.proto declares no service."""

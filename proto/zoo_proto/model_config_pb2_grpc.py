"""model_config.proto declares no service."""

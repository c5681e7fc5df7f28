"""tensorflow_framework.proto declares no service."""

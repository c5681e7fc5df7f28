"""Telemetry: logs, metrics, statistics and trace settings."""

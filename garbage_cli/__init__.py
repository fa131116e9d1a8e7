"""garbage: waste-sorting photos, from an archive to a running service."""

__version__ = "0.1.0"

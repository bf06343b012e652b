"""ASGI middleware around the application: access log, CORS, security headers."""

"""Middlewares around every HTTP request: ids, body limits, methods, CORS."""

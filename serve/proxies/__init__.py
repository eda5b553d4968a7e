"""The HTTP servers in front of the gateway: Ray's proxies and HAProxy."""

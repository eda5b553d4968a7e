"""What the gateway and the proxies answer alike: errors, headers, request ids."""

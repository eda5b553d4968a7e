"""The parts of an answer that the gateway and the proxies share: errors, headers, request ids."""

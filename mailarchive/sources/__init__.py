"""Where mail comes from: one module a protocol, none of which knows another."""

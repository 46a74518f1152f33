"""What needs a real Redis, which `make test-redis` starts."""

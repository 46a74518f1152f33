"""What `make run` and `make demo` do. No part of the product: nothing imports it."""

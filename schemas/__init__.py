"""Shapes: what a request may say and what an answer shows. No queries, no rules of stock or state."""

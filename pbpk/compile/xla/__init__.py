"""Compiled programs inside JAX: handlers, caches, launches, batching and derivatives."""

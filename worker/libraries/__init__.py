"""Adapters to libraries that people already use, each offered where its library is installed."""

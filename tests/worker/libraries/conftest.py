"""Jobs for the engine, and packages for a test."""

from tests.plugins import install
from tests.worker.engine.conftest import range_test, start, train

__all__ = ["install", "range_test", "start", "train"]

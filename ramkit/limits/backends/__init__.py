"""Stores of limits, one file a driver."""

"""Retraining with occasional distortion."""

"""Keypoint motion of a face: how it is measured, transferred, amplified, limited and smoothed."""

"""Stages that train Face Vid2Vid, with their data and losses."""

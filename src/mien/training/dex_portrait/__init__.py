"""Stages that train DeX-Portrait, with their data, losses and scores."""

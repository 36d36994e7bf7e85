"""Stages that train X-Portrait, with their losses, recipes and export."""

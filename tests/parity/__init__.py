"""The numerical proof against the published X-Portrait code: golden arrays, their reader, and what computes ours."""

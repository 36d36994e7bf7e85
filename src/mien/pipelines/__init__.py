"""diffusers pipelines: pictures in, frames out."""

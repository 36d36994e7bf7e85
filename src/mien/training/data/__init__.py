"""Training samples of X-Portrait and where they come from: avatars, rendered clips, videos and image folders."""

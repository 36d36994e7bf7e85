"""What the diffusion systems share: blocks of Stable Diffusion's U-Net, reference attention and temporal modules."""

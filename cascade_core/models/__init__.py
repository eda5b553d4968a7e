"""The networks of Stable Cascade, computed channels last, with weights in diffusers' layout."""

"""The networks; Stable Cascade's are computed channels last, with weights in diffusers' layout."""

"""What of Slipway is published: images, charts, manifests, and what vouches for them."""

"""What a model needs to tell what it cannot read: a small head on its own feature maps."""

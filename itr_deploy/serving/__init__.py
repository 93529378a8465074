"""The HTTP service: one bundle and one gallery, searched by whoever may."""

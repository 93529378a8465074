"""All that knows engines: files, fit, shapes, libraries, the builder and the preflight."""

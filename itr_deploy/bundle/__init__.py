"""The bundle on disk: the only thing the export half and the runtime half share."""

"""The bundle on disk: all that the export half and the runtime half share."""

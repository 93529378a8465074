"""CAMERA: Context-Aware Multi-View Summarization Network (Qu et al., ACM Multimedia 2020)."""

//! Fuzz targets and their committed corpora.

//! Shards as bytes.

//! Shared HTTP.

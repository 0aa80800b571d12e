//! Password reset operator.
pub mod api;
pub mod generate;

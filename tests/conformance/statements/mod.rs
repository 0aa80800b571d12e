//! What must be true of every provider? One file a chapter; each function is a sentence about any [`crate::subject::Subject`].

pub mod addresses;
pub mod answers;
pub mod change_time;
pub mod clearing;
pub mod completing;
pub mod credentials;
pub mod everybody;
pub mod finding;
pub mod groups;
pub mod listing;
pub mod populations;
pub mod pressure;
pub mod reading;
pub mod requiring;
pub mod sessions;
mod sets;
pub mod sign_in;
pub mod stopping;
pub mod tokens;
pub mod user_names;
pub mod verifying;
pub mod writes_in_doubt;

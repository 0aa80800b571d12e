//! How are requests sent to a provider? Shared by all of them.
//!
//! | file | question |
//! |---|---|
//! | `client` | how is one request sent, and what counts as an answer? |
//! | `request` | what is sent, and is it a write? |
//! | `bounds` | how much of an answer's JSON is taken in? |
//! | `response` | what came back, and what does its status usually mean? |
//! | `failure` | why did no answer come? |
//! | `token` | which token is sent, when is a new one fetched? |
//! | `limiter` | how hard may the tenant be pressed, and whose turn is it? |
//! | `origin` | where may the credential go, how is an address built? |
//! | `address` | which IP addresses may be connected to? (pure) |
//! | `network` | how is a connection made, and where to? |
//! | `page` | where does a listing go on? |
//! | `quota` | does an answer say that nothing more may be asked for a while? |
//! | `retry_after` | how long are we asked to wait, what time is it there? |
//!
//! Nothing here knows a vendor, decides whether to try again, or shows any part of an answer to anybody but the provider
//! that asked.
//!
//! ```text
//! send ─► allowed origin and address? ─► token ─► limiter ─► gate (writes) ─► one request ─► size, deadline, no redirect ─► Response
//!                                          ▲                                       │ token refused: once
//!                                          └───────────────────────────────────────┘
//! ```

mod address;
mod bounds;
mod client;
mod failure;
mod limiter;
mod network;
mod origin;
mod page;
mod quota;
mod request;
mod response;
mod retry_after;
mod token;

pub use address::{AddressRules, Refusal};
pub use bounds::{Listed, parse, short, short_id};
pub use client::{Auth, Http, HttpSettings};
pub use limiter::{Lane, Limiter, Limits};
pub use network::Network;
pub use origin::{Base, Origin};
pub use page::{NextLink, Trail, next_link};
pub use request::Request;
pub use response::{Response, is_unauthorized};
pub use retry_after::{bounded, http_date};
pub use token::{ClientAuth, TokenSource};

/// A vendor's static error code, where `text` can be one: short, and of letters, digits, `_`, `-` and `.` only. Whatever
/// else stands in a code's place might be somebody's address or password.
pub fn vendor_code(text: &str) -> Option<&str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)).then_some(text)
}

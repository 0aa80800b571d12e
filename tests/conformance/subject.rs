//! What has to be known about a provider to judge it?
//!
//! A subject is one tenant with [`PEOPLE`] ordinary people in it: it tells the truth about them and lets them act, without
//! the provider under test.

use std::collections::{BTreeMap, BTreeSet};

use password_reset_operator::plan::capabilities::Capabilities;
use password_reset_operator::plan::observed::SetKind;
use password_reset_operator::provider::http::HttpSettings;
use password_reset_operator::provider::{ErrorKind, Provider};
use url::Url;

/// People in a tenant, each with a password of its own and no mark.
pub const PEOPLE: usize = 12;
/// A group with several direct members, and with a subgroup that has others.
pub const GROUP: &str = "contractors";
/// A group without members.
pub const EMPTY_GROUP: &str = "nobody";
/// A population with several members. Another one's name begins with its name.
pub const POPULATION: &str = "Partners";

/// Which credential a provider is connected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The one that the tenant accepts.
    Right,
    /// One that it refuses.
    Wrong,
}

/// What people and admins do, outside the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The person signs in and changes the password.
    Complies,
    /// The person signs in and keeps the password.
    SignsIn,
    /// An admin requires a change.
    Marks,
    /// An admin takes the requirement back.
    Clears,
    /// An admin deletes the person.
    Deletes,
}

/// An account as it truly is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Person {
    /// The provider's id.
    pub id: String,
    /// The user name, where the provider has them.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: String,
    /// Whether there is a password to change.
    pub has_password: bool,
    /// Whether a change is required.
    pub marked: bool,
    /// Everything else that can be told, but for sessions: to be compared only.
    pub rest: String,
}

/// One tenant of one provider.
#[allow(async_fn_in_trait)] // the futures stay on the test's own thread
pub trait Subject: Sized {
    /// What the provider says about itself.
    const CAPABILITIES: &'static Capabilities;
    /// Whether it fetches tokens; otherwise it sends a fixed key.
    const TOKENS: bool;
    /// The query parameter by which it asks for the size of a page.
    const PAGE_SIZE: &'static str;
    /// An id of the vendor's form that nobody has.
    const NOBODY: &'static str;

    /// What a write to an id that nobody has ends with: `NotFound`, or `Forbidden` where the vendor's answer does not tell
    /// the two apart.
    const WRITE_TO_NOBODY: ErrorKind = ErrorKind::NotFound;

    /// A new tenant. Two with different numbers are different ones.
    async fn start(number: u64) -> Self;

    /// The origins that the provider talks to; the first is that of the API.
    fn origins(&self) -> Vec<String>;

    /// Whether a request to this path fetches a token.
    fn is_authentication(path: &str) -> bool;

    /// A provider of this tenant that talks to `origins` in place of [`Subject::origins`], in the same order.
    fn connect(
        &self,
        origins: &[Url],
        credential: Credential,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider>;

    /// Every account that a listing of the tenant has to show.
    async fn accounts(&self) -> Vec<Person>;

    /// The ids of the direct members of [`GROUP`], [`EMPTY_GROUP`] or [`POPULATION`].
    async fn members(&self, kind: SetKind, name: &str) -> BTreeSet<String>;

    /// Somebody acts. Fails the test where that is impossible.
    async fn act(&self, person: &Person, act: Act);

    /// Somebody joins; returns the id.
    async fn hires(&self) -> String;

    /// How many sessions the person has.
    async fn sessions(&self, person: &Person) -> usize;

    /// How often the provider's own credential required a change of one account, by id. Others are absent.
    async fn requirements(&self) -> BTreeMap<String, usize>;
}

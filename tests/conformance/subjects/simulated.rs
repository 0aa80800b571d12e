//! What is alike about the simulators? All but how they are started and connected to, which is a [`Vendor`].

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use password_reset_operator::plan::capabilities::Capabilities;
use password_reset_operator::plan::observed::SetKind;
use password_reset_operator::provider::http::HttpSettings;
use password_reset_operator::provider::{ErrorKind, Provider};
use simulators::{Credentials, Handle, Options, Play, Population, User};
use url::Url;

use crate::subject::{Act, Credential, PEOPLE, Person, Subject};

/// What differs between the simulators.
#[allow(async_fn_in_trait)] // the futures stay on the test's own thread
pub trait Vendor {
    /// See [`Subject::CAPABILITIES`].
    const CAPABILITIES: &'static Capabilities;
    /// See [`Subject::TOKENS`].
    const TOKENS: bool;
    /// See [`Subject::PAGE_SIZE`].
    const PAGE_SIZE: &'static str;
    /// See [`Subject::NOBODY`].
    const NOBODY: &'static str;

    /// See [`Subject::WRITE_TO_NOBODY`].
    const WRITE_TO_NOBODY: ErrorKind = ErrorKind::NotFound;

    /// Starts the simulator.
    async fn start(options: Options) -> std::io::Result<Handle>;

    /// See [`Subject::is_authentication`].
    fn is_authentication(path: &str) -> bool;

    /// See [`Subject::connect`].
    fn connect(
        tenant: &Handle,
        origins: &[Url],
        credentials: Credentials,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider>;

    /// The population that the user at this position is in, where the vendor has populations.
    fn population(_tenant: &Handle, _index: u32) -> Option<&'static str> {
        None
    }
}

/// A tenant of a simulator.
pub struct Simulated<V> {
    tenant: Handle,
    vendor: PhantomData<V>,
}

impl<V: Vendor> Simulated<V> {
    fn person(user: &User) -> Person {
        Person {
            id: user.id.clone(),
            username: V::CAPABILITIES.keys.username.then(|| user.username.clone()),
            email: user.email.clone(),
            has_password: user.has_password,
            marked: user.marked,
            rest: format!("{:?}", User { marked: false, sessions: 0, ..user.clone() }),
        }
    }

    fn users(&self) -> Vec<User> {
        self.tenant.users().into_iter().filter(|user| !user.deleted).collect()
    }
}

impl<V: Vendor> Subject for Simulated<V> {
    const CAPABILITIES: &'static Capabilities = V::CAPABILITIES;
    const TOKENS: bool = V::TOKENS;
    const PAGE_SIZE: &'static str = V::PAGE_SIZE;
    const NOBODY: &'static str = V::NOBODY;
    const WRITE_TO_NOBODY: ErrorKind = V::WRITE_TO_NOBODY;

    async fn start(number: u64) -> Self {
        let population = Population { seed: number, ..Population::ordinary(PEOPLE as u32) };
        let tenant = V::start(Options::new(population)).await.expect("a simulator");
        Self { tenant, vendor: PhantomData }
    }

    fn origins(&self) -> Vec<String> {
        vec![self.tenant.base_url(), self.tenant.auth_url()]
    }

    fn is_authentication(path: &str) -> bool {
        V::is_authentication(path)
    }

    fn connect(
        &self,
        origins: &[Url],
        credential: Credential,
        page_size: u32,
        settings: HttpSettings,
    ) -> Box<dyn Provider> {
        let mut credentials = self.tenant.credentials();
        if credential == Credential::Wrong {
            (credentials.client_secret, credentials.api_key) = ("wrong".to_owned(), "wrong".to_owned());
        }
        V::connect(&self.tenant, origins, credentials, page_size, settings)
    }

    async fn accounts(&self) -> Vec<Person> {
        self.users().iter().map(Self::person).collect()
    }

    async fn members(&self, kind: SetKind, name: &str) -> BTreeSet<String> {
        let is_member = |user: &User| match kind {
            SetKind::Group => user.groups.iter().any(|group| group == name),
            SetKind::Population => V::population(&self.tenant, user.index) == Some(name),
        };
        self.users().into_iter().filter(is_member).map(|user| user.id).collect()
    }

    async fn act(&self, person: &Person, act: Act) {
        let play = match act {
            Act::Complies => Play::Complies,
            Act::SignsIn => Play::SignsIn,
            Act::Marks => Play::Marks,
            Act::Clears => Play::Clears,
            Act::Deletes => Play::Deletes,
        };
        self.tenant.play(&person.id, play).expect("an act that is possible");
    }

    async fn hires(&self) -> String {
        self.tenant.hire()
    }

    async fn sessions(&self, person: &Person) -> usize {
        self.tenant.user(&person.id).expect("a user").sessions as usize
    }

    async fn requirements(&self) -> BTreeMap<String, usize> {
        self.tenant.requirements().into_iter().map(|(id, times)| (id, times as usize)).collect()
    }
}

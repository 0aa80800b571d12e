//! What does every statement begin with? A tenant, a provider, and the wire between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use password_reset_operator::plan::observed::{Account, AccountId, Listing, UserKey};
use password_reset_operator::plan::step::{Applied, Step};
use password_reset_operator::provider::http::{AddressRules, HttpSettings, Limiter, Limits, Network, Origin};
use password_reset_operator::provider::{Gate, Provider, ProviderError};

use crate::subject::{Act, Credential, Person, Subject};
use crate::wire::{Call, Kind, Wire};

/// Rows asked for per page: everybody takes several pages.
pub const PAGE: u32 = 5;

/// A tenant, the wire in front of it, and a provider that talks through the wire.
pub struct Stage<S> {
    /// The truth.
    pub subject: S,
    /// What is sent.
    pub wire: Wire,
    /// What is judged.
    pub provider: Box<dyn Provider>,
}

impl<S: Subject> Stage<S> {
    /// With the right credential.
    pub async fn new() -> Self {
        Self::with(Credential::Right).await
    }

    /// Another tenant than that of [`Stage::new`].
    pub async fn elsewhere() -> Self {
        Self::start(2, Credential::Right).await
    }

    /// With this credential.
    pub async fn with(credential: Credential) -> Self {
        Self::start(1, credential).await
    }

    async fn start(number: u64, credential: Credential) -> Self {
        let subject = S::start(number).await;
        let wire = Wire::start(&subject.origins(), S::is_authentication).await;
        let provider = connect(&subject, &wire, credential, PAGE);
        Self { subject, wire, provider }
    }

    /// Another provider of the same tenant, on the same wire, that has not been throttled yet.
    pub fn another(&self, page_size: u32) -> Box<dyn Provider> {
        connect(&self.subject, &self.wire, Credential::Right, page_size)
    }

    /// What was sent since the last call of this, without the fetching of tokens.
    pub fn calls(&self) -> Vec<Call> {
        self.wire.take().into_iter().filter(|call| call.kind != Kind::Authentication).collect()
    }

    /// Everybody who has a password, in a fixed order.
    pub async fn people(&self) -> Vec<Person> {
        let mut people = self.subject.accounts().await;
        people.retain(|person| person.has_password);
        people.sort();
        people
    }

    /// One of them.
    pub async fn somebody(&self) -> Person {
        self.people().await.swap_remove(3)
    }

    /// The truth about one account.
    pub async fn truth(&self, id: &str) -> Option<Person> {
        self.subject.accounts().await.into_iter().find(|person| person.id == id)
    }

    /// A listing to its end, page by page.
    pub async fn pages(&self, listing: &Listing) -> Result<Vec<Vec<Account>>, ProviderError> {
        pages(&*self.provider, listing).await
    }

    /// Everybody whom a listing of the tenant shows.
    pub async fn rows(&self) -> Vec<Account> {
        self.pages(&Listing::Tenant).await.expect("a listing").concat()
    }

    /// The row that a search for the person's id shows.
    pub async fn row(&self, person: &Person) -> Account {
        let found = self.provider.find(&UserKey::Id(person.id.clone())).await.expect("a search");
        found.into_iter().next().expect("an account with this id")
    }

    /// The whole account.
    pub async fn read(&self, person: &Person) -> Account {
        self.provider.read(&AccountId(person.id.clone())).await.expect("a read")
    }

    /// Requires a change of one account.
    pub async fn require(&self, person: &Person) -> Result<Applied, ProviderError> {
        self.provider.apply(&requirement(person), &open()).await
    }

    /// Requires a change and checks that it is there.
    pub async fn mark(&self, person: &Person) {
        assert!(self.require(person).await.expect("a write").written);
        assert!(self.truth(&person.id).await.expect("the person").marked);
    }

    /// Somebody acts.
    pub async fn act(&self, person: &Person, act: Act) {
        self.subject.act(person, act).await;
    }
}

fn connect<S: Subject>(subject: &S, wire: &Wire, credential: Credential, page_size: u32) -> Box<dyn Provider> {
    let limits = Limits { requests_per_second: 10_000.0, burst: 10_000, max_concurrent_requests: 8 };
    let origins = wire.origins().iter().map(|url| Origin::of(url).expect("an http origin")).collect();
    let here = AddressRules::parse(&["127.0.0.0/8"]).expect("a network");
    let network = Network::new(here, None, Vec::new()).expect("a way out");
    let settings = HttpSettings { network, ..HttpSettings::new(Limiter::new(limits), origins) };
    subject.connect(wire.origins(), credential, page_size, settings)
}

/// A listing to its end, page by page.
pub async fn pages(provider: &dyn Provider, listing: &Listing) -> Result<Vec<Vec<Account>>, ProviderError> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = provider.list(listing, cursor.as_ref()).await?;
        pages.push(page.accounts);
        assert!(pages.len() < 100, "the listing does not end");
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(pages),
        }
    }
}

/// The step that requires a change of this person.
pub fn requirement(person: &Person) -> Step {
    Step::RequireChange(AccountId(person.id.clone()))
}

/// The ids of these rows, sorted.
pub fn ids(rows: &[Account]) -> Vec<String> {
    let mut ids: Vec<String> = rows.iter().map(|row| row.id.0.clone()).collect();
    ids.sort();
    ids
}

/// A gate that lets everything through.
pub fn open() -> Gate {
    Arc::new(|| true)
}

/// A gate that lets nothing through.
pub fn closed() -> Gate {
    Arc::new(|| false)
}

/// A gate that lets everything through, and how often it was asked.
pub fn counted() -> (Gate, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let gate: Gate = Arc::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        true
    });
    (gate, asked)
}

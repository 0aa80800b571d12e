//! MonoCloud, played by the simulator.

use std::collections::BTreeSet;

use password_reset_operator::plan::observed::{
    Account, AccountId, ChangeTime, Credential, Enforceable, Listing, Mark, SetKind, UserKey,
};
use password_reset_operator::plan::step::{Applied, Step};
use password_reset_operator::provider::monocloud::{CAPABILITIES, MonoCloud, MonoCloudConfig};
use password_reset_operator::provider::{ErrorKind, Provider};
use simulators::monocloud::{
    DELETE_SESSION, FORCE_RESET, GROUP_USERS, LIST_GROUPS, LIST_SESSIONS, LIST_USERS, READ_USER,
};
use simulators::{
    Action, CallFault, Class, Effect, Faults, Handle, Options, PERSONAL_CANARY, Paging, PagingHeaders, Play,
    Population, SECRET_CANARY, Share, User, When,
};

use crate::{closed, everybody, open, pages, settings, url};

struct Fixture {
    tenant: Handle,
    provider: MonoCloud,
}

impl Fixture {
    async fn new(options: Options, page_size: u32) -> Self {
        let tenant = simulators::MonoCloud::start(options).await.expect("a simulator");
        let provider = connect(&tenant.base_url(), &tenant.credentials().api_key, page_size);
        Self { tenant, provider }
    }

    /// A tenant with `count` users of each class, and as many ordinary ones.
    async fn of(classes: &[Class], count: u32) -> Self {
        let shares: Vec<_> = classes.iter().map(|class| (*class, Share::Count(count))).collect();
        let users = (classes.len() as u32 + 1) * count;
        Self::new(Options::new(Population::with(users, &shares)), 50).await
    }

    fn users(&self, class: Class) -> Vec<User> {
        self.tenant.users().into_iter().filter(|user| user.class == class).collect()
    }

    fn a(&self, class: Class) -> User {
        self.users(class).remove(0)
    }

    async fn row(&self, user: &User) -> Account {
        let rows = everybody(&self.provider).await;
        rows.into_iter().find(|row| row.id.0 == user.id).expect("everybody is listed")
    }

    fn require(&self, user: &User) -> Step {
        Step::RequireChange(AccountId(user.id.clone()))
    }
}

fn connect(address: &str, api_key: &str, page_size: u32) -> MonoCloud {
    let base_url = url(address);
    let settings = settings(&base_url);
    MonoCloud::connect(MonoCloudConfig { base_url, api_key: api_key.into(), page_size }, settings).expect("a client")
}

fn paging(paging: Paging) -> Faults {
    Faults { paging, ..Faults::default() }
}

/// All users of a tenant without faults, in the order of a listing that is as it should be.
fn true_ids(tenant: &Handle) -> BTreeSet<String> {
    tenant.users().into_iter().map(|user| user.id).collect()
}

fn ids(rows: &[Account]) -> BTreeSet<String> {
    rows.iter().map(|row| row.id.0.clone()).collect()
}

#[tokio::test]
async fn a_listing_shows_everybody_once_and_ends_where_the_header_says() {
    let fixture = Fixture::new(Options::ordinary(250), 100).await;
    let pages = pages(&fixture.provider, &Listing::Tenant).await.expect("a listing");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    let rows = pages.concat();
    assert_eq!(rows.len(), 250);
    assert_eq!(ids(&rows), true_ids(&fixture.tenant));
    assert!(rows.is_sorted_by_key(|row| row.sort_key.clone()), "sorted by creation time");
    assert_eq!(fixture.tenant.count(LIST_USERS), 3);
    let first = fixture.provider.list(&Listing::Tenant, None).await.expect("a page");
    assert_eq!(first.total, Some(250));
}

#[tokio::test]
async fn a_server_that_gives_smaller_pages_than_asked_for_is_listed_whole() {
    let fixture = Fixture::new(Options::ordinary(250), 500).await;
    let pages = pages(&fixture.provider, &Listing::Tenant).await.expect("a listing");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    assert_eq!(ids(&pages.concat()), true_ids(&fixture.tenant));
}

#[tokio::test]
async fn without_the_paging_header_the_listing_goes_on_to_an_empty_page() {
    let headers = PagingHeaders::None;
    let fixture =
        Fixture::new(Options::ordinary(120).faults(paging(Paging { headers, ..Paging::default() })), 50).await;
    let pages = pages(&fixture.provider, &Listing::Tenant).await.expect("a listing");
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50, 20, 0]);
    assert_eq!(ids(&pages.concat()), true_ids(&fixture.tenant));
}

#[tokio::test]
async fn empty_pages_in_between_are_not_the_end() {
    let faults = paging(Paging { empty_pages: true, ..Paging::default() });
    let fixture = Fixture::new(Options::ordinary(120).faults(faults), 50).await;
    assert_eq!(ids(&everybody(&fixture.provider).await), true_ids(&fixture.tenant));
}

#[tokio::test]
async fn a_listing_that_never_ends_is_not_believed() {
    for faults in [Paging { looping: true, ..Paging::default() }, Paging { endless: true, ..Paging::default() }] {
        let fixture = Fixture::new(Options::ordinary(120).faults(paging(faults.clone())), 50).await;
        let error = pages(&fixture.provider, &Listing::Tenant).await.expect_err("an end");
        assert_eq!(error.kind, ErrorKind::ResponseInvalid, "{faults:?}");
        assert!(fixture.tenant.count(LIST_USERS) < 20, "{faults:?}");
    }
}

#[tokio::test]
async fn rows_carry_everything_so_that_completing_them_costs_nothing() {
    let classes = [
        Class::AlreadyMarked,
        Class::Disabled,
        Class::NoPassword,
        Class::Federated,
        Class::Blocked,
        Class::BlockEnded,
        Class::ChangeTimeUnknown,
    ];
    let fixture = Fixture::of(&classes, 3).await;
    let rows = everybody(&fixture.provider).await;
    assert_eq!(rows.len(), 24);
    for row in rows {
        let user = fixture.tenant.user(&row.id.0).expect("a listed user exists");
        assert_eq!(row.username.as_deref(), Some(user.username.as_str()));
        assert!(row.emails.contains(&user.email));
        let marked = if user.marked { Mark::Marked } else { Mark::Unmarked };
        assert_eq!(row.mark, marked, "{:?}", user.class);
        assert_eq!(row.disabled, Some(user.class == Class::Disabled));
        assert_eq!(row.locked, Some(user.class == Class::Blocked), "{:?}", user.class);
        let credential = match user.class {
            Class::NoPassword => Credential::NoPassword,
            Class::Federated => Credential::Federated,
            _ => Credential::Local,
        };
        assert_eq!(row.credential, credential, "{:?}", user.class);
        match (user.class, row.changed) {
            (Class::ChangeTimeUnknown | Class::NoPassword | Class::Federated, changed) => {
                assert_eq!(changed, ChangeTime::Absent, "{:?}", user.class)
            }
            (_, ChangeTime::At(at)) => {
                assert_eq!(Some(at.as_second()), user.changed_at.map(|at| at.as_second()), "{:?}", user.class)
            }
            (class, changed) => panic!("{class:?}: {changed:?}"),
        }
        assert_eq!(fixture.provider.complete(row.clone()).await.expect("a row"), row);
    }
    assert_eq!(fixture.tenant.counters().total(), fixture.tenant.count(LIST_USERS));
}

#[tokio::test]
async fn a_campaign_costs_one_call_per_write_and_the_pages() {
    let fixture = Fixture::new(Options::ordinary(1_000), CAPABILITIES.page_size).await;
    let rows = everybody(&fixture.provider).await;
    for row in rows {
        let row = fixture.provider.complete(row).await.expect("a row");
        let step = Step::RequireChange(row.id.clone());
        let applied = fixture.provider.apply(&step, &open()).await.expect("a write");
        let seen = applied.seen.expect("the answer is the read-back");
        assert_eq!((applied.written, seen.id, seen.mark), (true, row.id, Mark::Marked));
    }
    assert!(everybody(&fixture.provider).await.iter().all(|row| row.mark == Mark::Marked));
    assert_eq!(fixture.tenant.counters().total(), 1_000 + 2 * 20, "w + 2P");
    let requirements = fixture.tenant.requirements();
    assert_eq!(requirements.len(), 1_000);
    assert!(requirements.values().all(|count| *count == 1));
}

#[tokio::test]
async fn an_answer_without_the_mark_is_never_taken_for_done_nor_for_failed() {
    let fixture = Fixture::of(&[Class::SampleAnswer, Class::WithoutEffect], 1).await;
    for (class, mark) in [(Class::SampleAnswer, Mark::Marked), (Class::WithoutEffect, Mark::Unmarked)] {
        let user = fixture.a(class);
        let applied = fixture.provider.apply(&fixture.require(&user), &open()).await.expect("a success");
        assert_eq!(applied, Applied { written: true, seen: None }, "{class:?}");
        let read = fixture.provider.read_back(&AccountId(user.id)).await.expect("a read-back");
        assert_eq!(read.mark, mark, "{class:?}");
    }
    assert_eq!(fixture.tenant.count(READ_USER), 2);
}

#[tokio::test]
async fn the_three_shapes_of_422_are_rejections_in_our_own_words() {
    let fixture = Fixture::of(&[Class::Refused, Class::NoPassword, Class::Federated], 6).await;
    let mut messages = BTreeSet::new();
    for class in [Class::Refused, Class::NoPassword, Class::Federated] {
        for user in fixture.users(class) {
            let error = fixture.provider.apply(&fixture.require(&user), &open()).await.expect_err("a refusal");
            assert_eq!((error.kind, error.effect_unknown), (ErrorKind::Rejected, false));
            assert!(!error.message.contains("cannot be reset"), "the vendor's free text: {error}");
            messages.insert(error.message);
        }
    }
    let all = messages.into_iter().collect::<Vec<_>>().join("\n");
    for part in [
        "identity rules",
        "(OperationNotAllowed)",
        "(PasswordNotSet)",
        "invalid for this user (user_id)",
        "refuses this",
    ] {
        assert!(all.contains(part), "{part} in:\n{all}");
    }
    assert!(fixture.tenant.ledger().iter().all(|record| record.effect == Effect::Nothing));
}

#[tokio::test]
async fn a_forbidden_user_is_told_from_a_forbidden_tenant_and_a_wrong_key() {
    let fixture = Fixture::of(&[Class::Forbidden], 1).await;
    let user = fixture.a(Class::Forbidden);
    let error = fixture.provider.apply(&fixture.require(&user), &open()).await.expect_err("a refusal");
    assert_eq!(error.kind, ErrorKind::Forbidden);
    let nobody = AccountId("nobody".to_owned());
    assert_eq!(fixture.provider.read(&nobody).await.expect_err("nobody").kind, ErrorKind::NotFound);
    let error = fixture.provider.apply(&Step::RequireChange(nobody), &open()).await.expect_err("nobody");
    assert_eq!(error.kind, ErrorKind::NotFound);

    fixture.tenant.set(Faults { forbid_everything: true, ..Faults::default() });
    let error = fixture.provider.verify(true).await.expect_err("no right");
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    fixture.tenant.set(Faults { refuse_credentials: true, ..Faults::default() });
    let error = fixture.provider.verify(true).await.expect_err("a refused key");
    assert_eq!(error.kind, ErrorKind::AuthenticationFailed);
    assert!(error.message.contains("apiKey"), "{error}");
}

#[tokio::test]
async fn verify_is_one_call_whatever_form_the_base_address_has() {
    let fixture = Fixture::new(Options::ordinary(7), 50).await;
    let (base, key) = (fixture.tenant.base_url(), fixture.tenant.credentials().api_key);
    for address in [base.clone(), format!("{base}/"), format!("{base}/api"), format!("{base}/api/")] {
        let before = fixture.tenant.counters().total();
        let tenant = connect(&address, &key, 50).verify(true).await.expect("a tenant");
        assert_eq!(tenant.id, base);
        assert_eq!((tenant.users, tenant.own_account), (Some(7), None));
        assert!(matches!(tenant.enforceable, Enforceable::Unknown(_)));
        assert_eq!(fixture.tenant.counters().total(), before + 1, "{address}");
    }
    let elsewhere = connect(&format!("{base}/elsewhere"), &key, 50);
    let error = elsewhere.verify(true).await.expect_err("no API there");
    assert_eq!(error.kind, ErrorKind::ResponseInvalid);
    assert!(error.message.contains("baseURL"), "{error}");
}

#[tokio::test]
async fn users_are_found_by_id_name_and_address_and_lookalikes_are_not() {
    let fixture = Fixture::new(Options::ordinary(1_200), 50).await;
    // `quokka-1` is the beginning of hundreds of other names.
    let user = fixture.tenant.user_at(1);
    let keys = [
        UserKey::Id(user.id.clone()),
        UserKey::Username(user.username.to_uppercase()),
        UserKey::Email(user.email.to_uppercase()),
    ];
    for key in keys {
        let found = fixture.provider.find(&key).await.expect("a search");
        assert_eq!(found.iter().map(|a| &a.id.0).collect::<Vec<_>>(), [&user.id], "{key:?}");
    }
    let exact = UserKey::Email(fixture.tenant.user_at(1_111).email);
    let before = fixture.tenant.counters().total();
    assert_eq!(fixture.provider.find(&exact).await.expect("a search").len(), 1);
    assert_eq!(fixture.tenant.counters().total(), before + 1, "one call per key");
    let misses = [
        UserKey::Id("a/../b".to_owned()),
        UserKey::Username("nobody".to_owned()),
        UserKey::Username(PERSONAL_CANARY.to_owned()),
        UserKey::Username(String::new()),
        UserKey::Email("*".to_owned()),
    ];
    for key in misses {
        assert_eq!(fixture.provider.find(&key).await.expect("a search"), [], "{key:?}");
    }
}

#[tokio::test]
async fn groups_are_resolved_by_exact_name_over_all_pages() {
    let fixture = Fixture::new(Options::ordinary(60), 2).await;
    let provider = &fixture.provider;
    let sets = async |name: &str| provider.sets(SetKind::Group, name).await.expect("groups");
    let contractors = sets("contractors").await;
    assert_eq!(contractors, fixture.tenant.group_ids("contractors"));
    let groups = simulators::Group::usual().len() as u64;
    assert_eq!(fixture.tenant.count(LIST_GROUPS), groups.div_ceil(2), "all pages of groups");
    assert_eq!(sets(&contractors[0]).await, contractors, "by id");
    assert_eq!(sets("twins").await.len(), 2, "two are two");
    assert_eq!(sets("Contractors").await, [""; 0]);

    let members = pages(provider, &Listing::Group(contractors[0].clone())).await.expect("members").concat();
    let expected: BTreeSet<_> = fixture
        .tenant
        .users()
        .into_iter()
        .filter(|user| user.groups.iter().any(|group| group == "contractors"))
        .map(|user| user.id)
        .collect();
    assert_eq!(ids(&members), expected);
    assert!(members.iter().all(|row| row.mark == Mark::Unmarked));
    assert_eq!(fixture.tenant.count(GROUP_USERS), 6);
    let gone = Listing::Group("gone".to_owned());
    assert_eq!(provider.list(&gone, None).await.expect_err("no group").kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_and_a_plan_without_them_says_so() {
    let fixture = Fixture::new(Options::ordinary(3), 50).await;
    let user = fixture.tenant.user_at(0);
    fixture.tenant.play(&user.id, Play::SignsIn).expect("a sign-in");
    let sessions = fixture.tenant.user_at(0).sessions;
    assert!(sessions > 0);
    let step = Step::RevokeSessions(AccountId(user.id.clone()));
    let applied = fixture.provider.apply(&step, &open()).await.expect("ended sessions");
    assert_eq!(applied, Applied { written: true, seen: None });
    assert_eq!(fixture.tenant.user_at(0).sessions, 0);
    assert!(fixture.tenant.count(LIST_SESSIONS) <= 2);
    assert_eq!(fixture.tenant.count(DELETE_SESSION), u64::from(sessions));

    let nothing = fixture.provider.apply(&step, &open()).await.expect("no sessions");
    assert_eq!(nothing, Applied { written: false, seen: None });

    fixture.tenant.set(Faults { plan_without_sessions: true, ..Faults::default() });
    let error = fixture.provider.apply(&step, &open()).await.expect_err("a plan without sessions");
    assert_eq!(error.kind, ErrorKind::Unsupported);
    fixture.provider.apply(&fixture.require(&user), &open()).await.expect("requiring goes on");
}

#[tokio::test]
async fn a_closed_gate_stops_every_write() {
    let fixture = Fixture::new(Options::ordinary(1), 50).await;
    let user = fixture.tenant.user_at(0);
    fixture.tenant.play(&user.id, Play::SignsIn).expect("a sign-in");
    for step in [fixture.require(&user), Step::RevokeSessions(AccountId(user.id.clone()))] {
        let error = fixture.provider.apply(&step, &closed()).await.expect_err("a closed gate");
        assert_eq!(error.kind, ErrorKind::Stopped);
    }
    assert_eq!(fixture.tenant.count(FORCE_RESET) + fixture.tenant.count(DELETE_SESSION), 0);
}

#[tokio::test]
async fn answers_that_leave_the_effect_open_say_so_and_are_not_repeated() {
    for action in [Action::Status(500), Action::Reset, Action::Html, Action::TruncatedJson] {
        let fault = CallFault::always(FORCE_RESET, When::After, action.clone());
        let options = Options::ordinary(1).faults(Faults { calls: vec![fault], ..Faults::default() });
        let fixture = Fixture::new(options, 50).await;
        let user = fixture.tenant.user_at(0);
        let error = fixture.provider.apply(&fixture.require(&user), &open()).await.expect_err("no answer");
        assert!(error.effect_unknown, "{action:?}: {error}");
        assert_eq!(fixture.tenant.count(FORCE_RESET), 1, "{action:?}");
        let read = fixture.provider.read_back(&AccountId(user.id)).await.expect("a read-back");
        assert_eq!(read.mark, Mark::Marked, "{action:?}");
    }
}

#[tokio::test]
async fn garbage_in_a_listing_is_never_nobody() {
    let actions =
        [Action::Html, Action::TruncatedJson, Action::Empty, Action::Oversized { bytes: 64 << 20 }, Action::CutShort];
    for action in actions {
        let fault = CallFault::new(LIST_USERS, 2, When::Before, action.clone());
        let options = Options::ordinary(120).faults(Faults { calls: vec![fault], ..Faults::default() });
        let fixture = Fixture::new(options, 50).await;
        let error = pages(&fixture.provider, &Listing::Tenant).await.expect_err("garbage");
        assert!(matches!(error.kind, ErrorKind::ResponseInvalid | ErrorKind::Unreachable), "{action:?}: {error}");
        assert!(!error.message.contains(PERSONAL_CANARY) && !error.message.contains(SECRET_CANARY), "{error}");
    }
}

#[tokio::test]
async fn pressure_carries_the_pause_that_was_asked_for() {
    let headers = vec![("Retry-After".to_owned(), "7".to_owned())];
    let answer =
        Action::Answer { status: 429, content_type: "application/problem+json".into(), body: "{}".into(), headers };
    let fault = CallFault::new(LIST_USERS, 1, When::Before, answer);
    let options = Options::ordinary(3).faults(Faults { calls: vec![fault], ..Faults::default() });
    let fixture = Fixture::new(options, 50).await;
    let error = fixture.provider.list(&Listing::Tenant, None).await.expect_err("pressure");
    assert_eq!(error.kind, ErrorKind::Throttled);
    assert_eq!(error.retry_after.map(|pause| pause.as_secs()), Some(7));
}

#[tokio::test]
async fn a_person_who_complies_is_seen_unmarked_and_changed() {
    let fixture = Fixture::new(Options::ordinary(2), 50).await;
    let user = fixture.tenant.user_at(0);
    let applied = fixture.provider.apply(&fixture.require(&user), &open()).await.expect("a write");
    let ChangeTime::At(before) = applied.seen.expect("a read-back").changed else { panic!("a change time") };
    fixture.tenant.complies(&user.id).expect("a change");
    let row = fixture.row(&user).await;
    assert_eq!(row.mark, Mark::Unmarked);
    let ChangeTime::At(after) = row.changed else { panic!("a change time") };
    assert!(after > before);
    assert!(fixture.provider.clock().is_some(), "the simulator sends a Date");
}

#[tokio::test]
async fn what_monocloud_does_not_have_is_unsupported() {
    let fixture = Fixture::new(Options::ordinary(1), 50).await;
    let provider = &fixture.provider;
    let errors = [
        provider.apply(&Step::RequireEverybody, &open()).await.expect_err("no such call"),
        provider.sets(SetKind::Population, "p").await.expect_err("no such sets"),
        provider.list(&Listing::Population("p".to_owned()), None).await.expect_err("no such sets"),
    ];
    for error in errors {
        assert_eq!(error.kind, ErrorKind::Unsupported);
    }
    assert_eq!(fixture.tenant.counters().total(), 0);
}
